// Package elixir reads the literal terms in Elixir source, as configuration
// files are made of: atoms, strings, numbers, module names, lists, keyword
// lists, tuples and maps. Nothing is evaluated: an expression that is not a
// literal (a call, a variable, an interpolated string) becomes a term of kind
// Code that keeps its source, so that a caller can name it.
//
// The lexical rules are those of Elixir's syntax reference
// (hexdocs.pm/elixir/syntax-reference.html).
package elixir
