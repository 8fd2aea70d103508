"""How many containers each actor has on Modal or on a plane: as deployed, as wished for, and what differs."""
