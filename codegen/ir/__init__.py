"""The intermediate representation: types, the op table, Graph and Program, their text, verifier and interpreter."""
