"""Everything that a user does, in the containers and pods that users have: a table of places and a table of tasks."""
