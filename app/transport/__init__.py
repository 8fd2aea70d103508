"""How frames reach an actor: in this process or across Modal."""
