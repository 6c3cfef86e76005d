"""The Dockerfile front end: text to instructions, to stages, to LLB. Pure: opens no file and no socket."""
