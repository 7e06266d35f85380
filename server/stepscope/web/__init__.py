"""HTTP: the compiled contract, problems, authentication, pages. The only importer of connexion and starlette."""
