package elixir

import (
	"fmt"
	"strconv"
	"strings"
)

// Pos is a place in a source, line and column from 1.
type Pos struct{ Line, Col int }

func (p Pos) String() string { return fmt.Sprintf("line %d, column %d", p.Line, p.Col) }

// Error is what is wrong with a source, and where.
type Error struct {
	Pos
	Msg string
}

func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

func errorAt(p Pos, format string, args ...any) error { return &Error{p, fmt.Sprintf(format, args...)} }

// Kind is a kind of term.
type Kind int

// Kinds of terms.
const (
	Atom    Kind = iota + 1
	Module       // an alias: Cluster.Strategy.Epmd
	String       // a binary, a charlist or a heredoc
	Integer      // fits an int64
	Float        // as it was written
	Bool         // true or false
	Nil          //
	List         // a keyword list is a list of pairs
	Tuple        //
	Map          // its items are pairs, which are tuples of two
	Code         // anything else
)

func (k Kind) String() string {
	names := [...]string{"nothing", "an atom", "a module", "a string", "an integer", "a float", "a boolean", "nil", "a list", "a tuple", "a map", "code"}
	if k < 0 || int(k) >= len(names) {
		return "kind " + strconv.Itoa(int(k))
	}
	return names[k]
}

// Value is a term of the source.
type Value struct {
	Kind  Kind
	Text  string // of an atom, module, string, float; the source of code
	Int   int64
	Bool  bool
	Items []Value // of a list, tuple or map
	Env   string  // of code that reads one environment variable: its name
	Pos
}

// Pair is an entry of a keyword list.
type Pair struct {
	Key   string
	Value Value
	Pos   // of the key
}

// Keyword returns the entries of a keyword list or of a map whose keys are
// atoms or strings, in order; ok is false for any other term. The empty list
// is a keyword list.
func (v Value) Keyword() (pairs []Pair, ok bool) {
	if v.Kind != List && v.Kind != Map {
		return nil, false
	}
	for _, it := range v.Items {
		if it.Kind != Tuple || len(it.Items) != 2 {
			return nil, false
		}
		switch k := it.Items[0]; {
		case k.Kind == Atom, k.Kind == String && v.Kind == Map:
			pairs = append(pairs, Pair{k.Text, it.Items[1], k.Pos})
		default:
			return nil, false
		}
	}
	return pairs, true
}

// String writes the term as Elixir would.
func (v Value) String() string {
	var b strings.Builder
	v.write(&b)
	return b.String()
}

func (v Value) write(b *strings.Builder) {
	switch v.Kind {
	case Atom:
		b.WriteString(":" + quoteUnless(isPlainAtom(v.Text), v.Text))
	case String:
		b.WriteString(strconv.Quote(v.Text))
	case Integer:
		b.WriteString(strconv.FormatInt(v.Int, 10))
	case Bool:
		b.WriteString(strconv.FormatBool(v.Bool))
	case Nil:
		b.WriteString("nil")
	case List:
		v.writeItems(b, "[", "]")
	case Tuple:
		v.writeItems(b, "{", "}")
	case Map:
		v.writeItems(b, "%{", "}")
	default:
		b.WriteString(v.Text)
	}
}

func (v Value) writeItems(b *strings.Builder, before, after string) {
	b.WriteString(before)
	pairs, keyword := v.Keyword()
	for i, it := range v.Items {
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case keyword && it.Items[0].Kind == Atom:
			b.WriteString(quoteUnless(isPlainAtom(pairs[i].Key), pairs[i].Key) + ": ")
			it.Items[1].write(b)
		case v.Kind == Map && len(it.Items) == 2:
			it.Items[0].write(b)
			b.WriteString(" => ")
			it.Items[1].write(b)
		default:
			it.write(b)
		}
	}
	b.WriteString(after)
}

func quoteUnless(plain bool, s string) string {
	if plain {
		return s
	}
	return strconv.Quote(s)
}

func isPlainAtom(s string) bool {
	for i := range len(s) {
		if !isWord(s[i]) && s[i] != '@' || i == 0 && isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}
