package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Source is a layer. A later one goes over an earlier one.
type Source uint8

// Sources, in ascending order of precedence.
const (
	Default Source = iota
	Profile
	File
	Code
	Env
)

// Origin is where a value came from.
type Origin struct {
	Source Source
	Name   string // of the profile, file or variable
	Line   int    // in a file, from 1; 0: not known
}

// String returns "default", "profile dev", "maquis.yaml:7", "code" or the name
// of a variable.
func (o Origin) String() string {
	switch {
	case o.Source == Default:
		return "default"
	case o.Source == Profile:
		return "profile " + o.Name
	case o.Source == Code:
		return "code"
	case o.Line > 0:
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	}
	return o.Name
}

// Problem is one thing that is wrong.
type Problem struct {
	Origin Origin
	Key    string // its path; empty: the file as a whole
	Text   string
}

// String returns the problem with its place.
func (p Problem) String() string {
	where := p.Origin.String()
	if p.Origin.Source == Default || p.Origin.Source == Code {
		where = "maquis"
	}
	if p.Key == "" {
		return where + ": " + p.Text
	}
	return where + ": " + p.Key + ": " + p.Text
}

// Error is everything that is wrong with a configuration.
type Error struct{ Problems []Problem }

// Error lists the problems, one a line.
func (e *Error) Error() string {
	var lines []string
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// maxProblems bounds what is reported of one source.
const maxProblems = 100

// problems returns an *Error, those of a file in the order of its lines, or nil.
func problems(list []Problem) error {
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Origin.Source, b.Origin.Source), cmp.Compare(a.Origin.Name, b.Origin.Name), cmp.Compare(a.Origin.Line, b.Origin.Line))
	})
	return &Error{list}
}

// Combine puts errors together into one.
func Combine(errs ...*Error) *Error {
	var list []Problem
	for _, e := range errs {
		list = append(list, e.Problems...)
	}
	_ = problems(list) // in order
	return &Error{list}
}
