// Package config reads what a node is to be from a cluster file, a profile and
// the environment, and lays them over each other:
//
//	default < profile < file < code < environment
//
// There is one schema, in schema.go. Files, variables, documentation and output
// are all read off it. A file is YAML (or JSON, which is YAML), and is read
// strictly: an unknown key, a wrong type or unit, a key given twice, a secret in
// clear are problems, and all of them are reported at once, each with file, line
// and what to write instead. Every value of a Config knows where it came from.
//
// Load reads files; Parse and Environment only what they are given. What the
// values mean to a node is the business of package actors.
package config
