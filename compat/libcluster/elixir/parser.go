package elixir

import (
	"strings"
	"time"
)

// Source is an Elixir source cut into tokens.
type Source struct {
	text string
	toks []token
}

// Read cuts a source into tokens. An error is an *Error.
func Read(src string) (*Source, error) {
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	return &Source{src, toks}, nil
}

// Parse reads a source that is a single term.
func Parse(src string) (Value, error) {
	s, err := Read(src)
	if err != nil {
		return Value{}, err
	}
	p := &parser{Source: s}
	v, err := p.value()
	if err == nil && p.tok().kind != tEOF {
		err = errorAt(p.tok().Pos, "%s is not expected here", p.show())
	}
	return v, err
}

type parser struct {
	*Source
	at    int
	depth int // brackets that are open
}

func (p *parser) tok() token { return p.toks[p.at] }

func (p *parser) advance() token {
	t := p.toks[p.at]
	if t.kind != tEOF {
		p.at++
	}
	return t
}

func (p *parser) accept(punct string) bool {
	if p.tok().is(punct) {
		p.advance()
		return true
	}
	return false
}

// show is the token at hand as the source has it.
func (p *parser) show() string {
	if p.tok().kind == tEOF {
		return "the end"
	}
	return `"` + p.text[p.tok().start:p.tok().end] + `"`
}

// ends reports whether the token at hand ends a term.
func (p *parser) ends() bool {
	t := p.tok()
	switch {
	case t.kind == tEOF, t.is(","), t.is("]"), t.is("}"), t.is(")"), t.is(">>"), t.is("=>"), t.is(";"), t.kind == tIdent && t.text == "end":
		return true
	}
	// Outside of brackets a term ends with its line, unless the next one goes on.
	return p.depth == 0 && t.newline && !(t.kind == tPunct && strings.Contains(" |> <> ++ -- || && == + - * / . ", " "+t.text+" "))
}

// value reads a term: a literal, or else code up to where a term may end.
func (p *parser) value() (Value, error) {
	from := p.at
	v, ok, err := p.literal()
	if err != nil || ok && p.ends() {
		return v, err
	}
	p.at = from
	return p.code()
}

// literal reads a literal. It reports false if there is none at hand; what
// follows one may still show that it is only the beginning of an expression.
func (p *parser) literal() (Value, bool, error) {
	t := p.advance()
	v := Value{Text: t.text, Pos: t.Pos}
	switch t.kind {
	case tInt:
		v.Kind, v.Int, v.Text = Integer, t.num, ""
	case tFloat:
		v.Kind = Float
	case tString:
		v.Kind = String
	case tSigil:
		return p.sigil(t)
	case tAtom:
		v.Kind = Atom
		if ms, ok := p.timer(t); ok {
			return Value{Kind: Integer, Int: ms, Pos: t.Pos}, true, nil
		}
	case tAlias:
		v.Kind = Module
		for p.tok().is(".") && p.toks[p.at+1].kind == tAlias {
			p.advance()
			v.Text += "." + p.advance().text
		}
	case tIdent:
		switch t.text {
		case "true", "false":
			v.Kind, v.Bool, v.Text = Bool, t.text == "true", ""
		case "nil":
			v.Kind, v.Text = Nil, ""
		}
	case tPunct:
		return p.punct(t)
	}
	return v, v.Kind != 0 && !t.code, nil
}

// punct reads what begins with a sign.
func (p *parser) punct(t token) (Value, bool, error) {
	v := Value{Pos: t.Pos}
	var err error
	switch t.text {
	case "[":
		v.Kind = List
		v.Items, err = p.items(t, "]")
	case "{":
		v.Kind = Tuple
		v.Items, err = p.items(t, "}")
	case "%":
		if !p.accept("{") {
			return v, false, nil
		}
		v.Kind = Map
		v.Items, err = p.items(t, "}")
	case "(":
		if p.depth++; p.depth > maxDepth {
			return v, false, tooDeep(t)
		}
		v, err = p.value()
		p.depth--
		if err != nil || !p.accept(")") {
			return v, false, err
		}
	case "-":
		n := p.tok()
		if n.start != t.end || n.kind != tInt && n.kind != tFloat {
			return v, false, nil
		}
		p.advance()
		v = Value{Kind: Integer, Int: -n.num, Pos: t.Pos}
		if n.kind == tFloat {
			v = Value{Kind: Float, Text: "-" + n.text, Pos: t.Pos}
		}
	default:
		return v, false, nil
	}
	return v, err == nil, err
}

func tooDeep(t token) error {
	return errorAt(t.Pos, "more than %d brackets in one another", maxDepth)
}

// items reads terms up to a closing bracket. Keys at the end of a tuple are a
// keyword list of their own, elsewhere they are pairs among the others.
func (p *parser) items(open token, shut string) ([]Value, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, tooDeep(open)
	}
	defer func() { p.depth-- }()
	var list []Value
	var tail *Value
	if open.is("{") {
		tail = &Value{Kind: List}
	}
	for !p.accept(shut) {
		k := p.tok()
		switch {
		case k.kind == tEOF:
			return nil, errorAt(open.Pos, "%q is not closed", p.text[open.start:open.end])
		case k.kind == tKey:
			p.advance()
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			if tail != nil {
				tail.Items = append(tail.Items, pair(Value{Kind: Atom, Text: k.text, Pos: k.Pos}, v))
			} else {
				list = append(list, pair(Value{Kind: Atom, Text: k.text, Pos: k.Pos}, v))
			}
		default:
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			if p.accept("=>") {
				w, err := p.value()
				if err != nil {
					return nil, err
				}
				v = pair(v, w)
			}
			list = append(list, v)
		}
		if !p.accept(",") && !p.tok().is(shut) && p.tok().kind != tEOF {
			return nil, errorAt(p.tok().Pos, "%s where \",\" or %q is expected, for the %q of line %d", p.show(), shut, open.text, open.Line)
		}
	}
	if tail != nil && len(tail.Items) > 0 {
		tail.Pos = tail.Items[0].Pos
		list = append(list, *tail)
	}
	return list, nil
}

func pair(k, v Value) Value { return Value{Kind: Tuple, Items: []Value{k, v}, Pos: k.Pos} }

// code skips an expression and keeps its source.
func (p *parser) code() (Value, error) {
	from, first := p.at, p.tok()
	if first.kind == tEOF || p.closes() {
		return Value{}, errorAt(first.Pos, "%s where a value is expected", p.show())
	}
	var open []token
	for p.tok().kind != tEOF && (p.at == from || len(open) > 0 || !p.ends()) {
		t := p.advance()
		if last := p.toks[max(p.at-2, 0)]; t.kind == tKey && len(open) == 0 && last.start >= first.start && last.start < t.start && endsTerm(last) {
			return Value{}, errorAt(t.Pos, "a comma is missing before %q", p.text[t.start:t.end])
		}
		switch {
		case t.is("(") || t.is("[") || t.is("{") || t.is("<<") || t.kind == tIdent && (t.text == "do" || t.text == "fn"):
			if open = append(open, t); len(open)+p.depth > maxDepth {
				return Value{}, tooDeep(t)
			}
		case t.is(")") || t.is("]") || t.is("}") || t.is(">>") || t.kind == tIdent && t.text == "end":
			if len(open) == 0 || !matches(open[len(open)-1].text, t.text) {
				return Value{}, errorAt(t.Pos, "%q closes nothing that is open", t.text)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return Value{}, errorAt(open[len(open)-1].Pos, "%q is not closed", open[len(open)-1].text)
	}
	return Value{Kind: Code, Text: p.text[first.start:p.toks[p.at-1].end], Env: p.env(from, p.at), Pos: first.Pos}, nil
}

// closes reports whether the token at hand can only come after a term.
func (p *parser) closes() bool {
	t := p.tok()
	return t.is(",") || t.is(")") || t.is("]") || t.is("}") || t.is(">>") || t.is("=>") || t.is(";") || t.kind == tIdent && t.text == "end"
}

// endsTerm reports whether a token is the last one of a literal or a call.
func endsTerm(t token) bool {
	return t.kind != tIdent && t.kind != tPunct || t.is("]") || t.is("}") || t.is(")")
}

func matches(open, shut string) bool {
	switch open {
	case "(":
		return shut == ")"
	case "[":
		return shut == "]"
	case "{":
		return shut == "}"
	case "<<":
		return shut == ">>"
	}
	return shut == "end"
}

// env is the variable that some tokens read by System.get_env,
// System.fetch_env or System.fetch_env!, if they do so exactly once.
func (p *parser) env(from, to int) string {
	name := ""
	for i := from; i+4 < to; i++ {
		t := p.toks[i : i+5]
		if t[0].kind != tAlias || t[0].text != "System" || !t[1].is(".") || !t[3].is("(") || t[4].kind != tString || t[4].code {
			continue
		}
		if f := t[2].text; f == "get_env" || f == "fetch_env" || f == "fetch_env!" {
			if name != "" {
				return ""
			}
			name = t[4].text
		}
	}
	return name
}

// timer reads :timer.seconds(5) and its like, which are numbers of
// milliseconds.
func (p *parser) timer(t token) (int64, bool) {
	if t.text != "timer" || p.at+4 >= len(p.toks) {
		return 0, false
	}
	dot, f, open, n, shut := p.toks[p.at], p.toks[p.at+1], p.toks[p.at+2], p.toks[p.at+3], p.toks[p.at+4]
	unit, ok := map[string]time.Duration{"seconds": time.Second, "minutes": time.Minute, "hours": time.Hour}[f.text]
	if !ok || !dot.is(".") || !open.is("(") || n.kind != tInt || !shut.is(")") || n.num > 1<<31 {
		return 0, false
	}
	p.at += 5
	return n.num * unit.Milliseconds(), true
}

// sigil reads strings and lists of words.
func (p *parser) sigil(t token) (Value, bool, error) {
	v := Value{Kind: String, Text: t.text, Pos: t.Pos}
	if t.code {
		return v, false, nil
	}
	switch t.sigil {
	case "s", "S", "c", "C":
	case "w", "W":
		v = Value{Kind: List, Pos: t.Pos}
		kind := String
		if t.mods == "a" {
			kind = Atom
		}
		for _, w := range strings.Fields(t.text) {
			v.Items = append(v.Items, Value{Kind: kind, Text: w, Pos: t.Pos})
		}
	default:
		return v, false, nil
	}
	return v, true, nil
}
