package elixir

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

type tokenKind int

const (
	tEOF tokenKind = iota
	tIdent
	tAlias
	tAtom
	tKey // name:
	tString
	tSigil
	tInt
	tFloat
	tPunct
)

type token struct {
	kind    tokenKind
	text    string // of a string or sigil: its content
	sigil   string // the letters of a sigil
	mods    string // what follows a sigil
	num     int64
	code    bool // a string with interpolation
	newline bool // the first of its line
	start   int
	end     int
	Pos
}

func (t token) is(punct string) bool { return t.kind == tPunct && t.text == punct }

// Bounds of a source. Configuration files are far from them.
const (
	maxSource = 1 << 20
	maxDepth  = 64
)

// lexer cuts a source into tokens.
type lexer struct {
	src   string
	at    int
	line  int
	bol   int // where the line begins
	depth int // of interpolations
}

// lex returns the tokens of a source, an EOF last.
func lex(src string) ([]token, error) {
	if len(src) > maxSource {
		return nil, errorAt(Pos{1, 1}, "the source has %d bytes; at most %d are read", len(src), maxSource)
	}
	l := &lexer{src: src, line: 1}
	var toks []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		toks = append(toks, t)
		if t.kind == tEOF {
			return toks, nil
		}
	}
}

func (l *lexer) pos() Pos { return Pos{l.line, l.at - l.bol + 1} }

func (l *lexer) peek(n int) byte {
	if l.at+n < len(l.src) {
		return l.src[l.at+n]
	}
	return 0
}

func (l *lexer) has(prefix string) bool { return strings.HasPrefix(l.src[l.at:], prefix) }

// step goes one byte on and counts lines.
func (l *lexer) step() {
	if l.src[l.at] == '\n' {
		l.line++
		l.bol = l.at + 1
	}
	l.at++
}

func (l *lexer) skip(n int) {
	for range n {
		l.step()
	}
}

// space skips spaces and comments; it reports whether a line ended.
func (l *lexer) space() (newline bool) {
	newline = l.at == 0
	for l.at < len(l.src) {
		switch c := l.src[l.at]; {
		case c == '\n':
			newline = true
			l.step()
		case c == ' ' || c == '\t' || c == '\r' || c == '\f':
			l.step()
		case c == '\\' && (l.peek(1) == '\n' || l.peek(1) == '\r'):
			l.step()
		case c == '#':
			for l.at < len(l.src) && l.src[l.at] != '\n' {
				l.step()
			}
		default:
			return newline
		}
	}
	return newline
}

// operators are those of more than one byte, the longest first.
var operators = []string{
	"<<<", ">>>", "|||", "&&&", "^^^", "~~~", "<~>", "<|>", "===", "!==", "...", "+++", "---", "<<~", "~>>",
	"<<", ">>", "=>", "->", "<-", "|>", "<>", "++", "--", "||", "&&", "==", "!=", "=~", "<=", ">=", "::", "..", "\\\\", "//", "~>", "<~", "**",
}

func (l *lexer) next() (token, error) {
	newline := l.space()
	t := token{newline: newline, start: l.at, Pos: l.pos()}
	if l.at >= len(l.src) {
		t.end = l.at
		return t, nil
	}
	err := l.scan(&t)
	t.end = l.at
	return t, err
}

func (l *lexer) scan(t *token) error {
	c := l.src[l.at]
	switch {
	case isDigit(c):
		return l.number(t)
	case isLetter(c) || c == '_' || c >= utf8.RuneSelf:
		l.word(t)
		return nil
	case c == '"' || c == '\'':
		return l.quoted(t)
	case c == ':' && l.peek(1) != ':':
		return l.atom(t)
	case c == '~' && isLetter(l.peek(1)):
		return l.sigil(t)
	case c == '?' && l.peek(1) != 0:
		return l.char(t)
	}
	t.kind = tPunct
	for _, op := range operators {
		if l.has(op) {
			t.text = op
			l.skip(len(op))
			return nil
		}
	}
	t.text = string(c)
	l.step()
	return nil
}

// key takes the colon after a name, if it makes the name a key.
func (l *lexer) key(t *token) {
	if l.peek(0) == ':' && l.peek(1) != ':' {
		t.kind = tKey
		l.step()
	}
}

func (l *lexer) word(t *token) {
	t.kind = tIdent
	if c := l.src[l.at]; c >= 'A' && c <= 'Z' {
		t.kind = tAlias
	}
	from := l.at
	for l.at < len(l.src) && (isWord(l.src[l.at]) || l.src[l.at] >= utf8.RuneSelf) {
		l.step()
	}
	if c := l.peek(0); t.kind == tIdent && (c == '?' || c == '!') && l.peek(1) != '=' {
		l.step()
	}
	t.text = l.src[from:l.at]
	l.key(t)
}

func (l *lexer) atom(t *token) error {
	t.kind = tAtom
	l.step()
	switch c := l.peek(0); {
	case c == '"' || c == '\'':
		s := token{Pos: t.Pos}
		if err := l.text(&s, c, c, true); err != nil {
			return err
		}
		t.text, t.code = s.text, s.code
	case isLetter(c) || c == '_' || c >= utf8.RuneSelf:
		from := l.at
		for l.at < len(l.src) && (isWord(l.src[l.at]) || l.src[l.at] == '@' || l.src[l.at] >= utf8.RuneSelf) {
			l.step()
		}
		if c := l.peek(0); c == '?' || c == '!' {
			l.step()
		}
		t.text = l.src[from:l.at]
	default: // :+ and the like, or a lone colon
		from := l.at
		for l.at < len(l.src) && strings.IndexByte("+-*/<>=!&|^~.@%{}", l.src[l.at]) >= 0 {
			l.step()
		}
		t.text = l.src[from:l.at]
		if t.text == "" {
			t.kind, t.text = tPunct, ":"
		}
	}
	return nil
}

// number reads an integer of any base or a float.
func (l *lexer) number(t *token) error {
	from := l.at
	for l.at < len(l.src) && isWord(l.src[l.at]) {
		l.step()
	}
	t.kind = tInt
	prefixed := l.src[from] == '0' && l.at > from+1 && isLetter(l.src[from+1])
	if !prefixed && l.peek(0) == '.' && isDigit(l.peek(1)) {
		t.kind = tFloat
		l.step()
		for l.at < len(l.src) && (isWord(l.src[l.at]) || (l.src[l.at] == '-' || l.src[l.at] == '+') && strings.IndexByte("eE", l.src[l.at-1]) >= 0) {
			l.step()
		}
	}
	t.text = l.src[from:l.at]
	if t.kind == tFloat {
		if _, err := strconv.ParseFloat(strings.ReplaceAll(t.text, "_", ""), 64); err != nil {
			return errorAt(t.Pos, "%q is not a number", t.text)
		}
		return nil
	}
	digits, base := t.text, 10
	if prefixed {
		base = 0 // 0x, 0o and 0b are Go's too
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), base, 64)
	if err != nil {
		return errorAt(t.Pos, "%q is not an integer of 64 bits", t.text)
	}
	t.num = n
	return nil
}

// char reads ?a, which is an integer.
func (l *lexer) char(t *token) error {
	t.kind = tInt
	l.step()
	if l.src[l.at] == '\\' {
		var b strings.Builder
		if err := l.escape(&b); err != nil {
			return err
		}
		r, _ := utf8.DecodeRuneInString(b.String())
		t.num = int64(r)
		return nil
	}
	r, n := utf8.DecodeRuneInString(l.src[l.at:])
	t.num = int64(r)
	l.skip(n)
	return nil
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isWord(c byte) bool   { return isLetter(c) || isDigit(c) || c == '_' }
