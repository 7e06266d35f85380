"""How the contract is compiled: generator settings, mustache templates, and what neither can do.

Nothing here is imported by the server.
"""
