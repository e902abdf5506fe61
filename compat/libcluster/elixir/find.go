package elixir

import "slices"

// Binding is a term that a source gives a name to.
type Binding struct {
	App   string // of `config :app`; empty elsewhere
	Name  string
	Value Value
	Pos   // of the name
}

// Find returns the terms that a source binds to one of some names, in order:
// by `config :app, name: term`, `config :app, :name, term`, as a key anywhere
// else, and by `name = term`. What else the source holds is skipped.
func (s *Source) Find(names ...string) ([]Binding, error) {
	var found []Binding
	app := ""
	for i := 0; i < len(s.toks); i++ {
		t := s.toks[i]
		if t.kind == tIdent && t.text == "config" {
			app = ""
			at := i + 1
			if s.tok(at).is("(") {
				at++
			}
			if s.tok(at).kind == tAtom {
				app = s.tok(at).text
			}
		}
		if !slices.Contains(names, t.text) {
			continue
		}
		from := 0
		b := Binding{Name: t.text, App: app, Pos: t.Pos}
		switch {
		case t.kind == tKey:
			from = i + 1
		case t.kind == tIdent && s.tok(i+1).is("="):
			from, b.App = i+2, ""
		case t.kind == tAtom && s.tok(i+1).is(",") && i > 1 && s.toks[i-1].is(",") && s.toks[i-2].kind == tAtom:
			from = i + 2
		default:
			continue
		}
		p := &parser{Source: s, at: from}
		var err error
		if b.Value, err = p.value(); err != nil {
			return nil, err
		}
		found = append(found, b)
		i = p.at - 1
	}
	return found, nil
}

// tok is a token, or the last one beyond the end.
func (s *Source) tok(i int) token { return s.toks[min(i, len(s.toks)-1)] }
