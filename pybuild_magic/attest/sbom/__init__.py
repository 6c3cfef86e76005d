"""The scanner that is built in: which packages a file system has, by the databases and metadata that installers leave.

Files are read where they lie in the layers; nothing is unpacked or run. What is read is anybody's: each file is
bounded, and one that cannot be read is told and left out.
"""
