"""The contract in types, written by `make generate`: never edit, change the contract.

`models` holds a Struct for each schema: decoding a body is validating it. `operations` holds a
Protocol for each tag and the table of all operations.
"""
