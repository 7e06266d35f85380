"""The native dialect: the predict and registry operations, as MLModelScope's clients know them."""
