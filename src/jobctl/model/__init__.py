"""The words of the design as types; standard library only."""
