-- A file as version 1 of the tables left it, with one record of each kind.
BEGIN TRANSACTION;
CREATE TABLE leases (
    chat INTEGER PRIMARY KEY, lease TEXT, owner TEXT, update_key TEXT, attempt INTEGER, renewed_at REAL
);
INSERT INTO "leases" VALUES(500,'lease-1','one','7:1',1,1795367654.01195);
CREATE TABLE sequence (value INTEGER NOT NULL);
INSERT INTO "sequence" VALUES(4);
CREATE TABLE sessions (
    chat INTEGER PRIMARY KEY, shard INTEGER, version INTEGER, updated_at REAL, operation TEXT,
    expires_at REAL, body BLOB
);
INSERT INTO "sessions" VALUES(500,0,2,1.79536765401126098638e+09,'write',NULL,X'73657373696F6E');
CREATE TABLE skill_runs (
    skill TEXT, run TEXT, expires_at REAL NOT NULL, PRIMARY KEY (skill, run)
) WITHOUT ROWID;
INSERT INTO "skill_runs" VALUES('tea','r',1.79597245401258778568e+09);
CREATE TABLE skills (
    name TEXT PRIMARY KEY, run_count INTEGER NOT NULL, success_count INTEGER NOT NULL,
    total_duration_ms REAL NOT NULL, last_run_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "skills" VALUES('tea',1,1,1.0,1.79536765401258778572e+09);
CREATE TABLE updates (
    seq INTEGER PRIMARY KEY, bot INTEGER, "update" INTEGER, chat INTEGER, shard INTEGER, state TEXT,
    open INTEGER, reason TEXT, version INTEGER, accepted_at REAL, operation TEXT, expires_at REAL, body BLOB
);
INSERT INTO "updates" VALUES(1,7,1,500,0,'accepted',1,'',1,1.79536765400981736186e+09,'',NULL,X'7475726E');
CREATE UNIQUE INDEX updates_by_id ON updates (bot, "update");
CREATE INDEX updates_by_chat ON updates (open, chat);
CREATE INDEX updates_by_expiry ON updates (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX sessions_by_change ON sessions (shard, version);
CREATE INDEX sessions_by_expiry ON sessions (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX skill_runs_by_expiry ON skill_runs (expires_at);
PRAGMA application_id = 1179404628;
PRAGMA user_version = 1;
COMMIT;
