"""The model repository that ships with the server, and the script that made it. Nothing here is imported by it."""
