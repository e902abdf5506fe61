package elixir

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// quoted reads a string, a charlist or a heredoc; followed by a colon it is a
// key.
func (l *lexer) quoted(t *token) error {
	t.kind = tString
	q := l.src[l.at]
	if fence := strings.Repeat(string(q), 3); l.has(fence) {
		return l.heredoc(t, fence, true)
	}
	if err := l.text(t, q, q, true); err != nil {
		return err
	}
	if !t.code {
		l.key(t)
	}
	return nil
}

// text reads from an opening to a closing delimiter. Without escapes, as in
// sigils of capital letters, only the delimiter can be escaped.
func (l *lexer) text(t *token, open, shut byte, escapes bool) error {
	at := l.pos()
	l.step()
	var b strings.Builder
	for nested := 0; l.at < len(l.src); {
		switch c := l.src[l.at]; {
		case c == shut && nested == 0:
			l.step()
			t.text = b.String()
			return nil
		case escapes && c == '#' && l.peek(1) == '{':
			t.code = true
			if err := l.interpolation(); err != nil {
				return err
			}
		case c == '\\' && escapes:
			if err := l.escape(&b); err != nil {
				return err
			}
		case c == '\\' && l.peek(1) == shut:
			b.WriteByte(shut)
			l.skip(2)
		default:
			if open != shut && c == open {
				nested++
			} else if c == shut {
				nested--
			}
			b.WriteByte(c)
			l.step()
		}
	}
	return errorAt(at, "%q is not closed", string(open))
}

// heredoc reads lines up to one that holds the fence; its indentation is taken
// off all lines.
func (l *lexer) heredoc(t *token, fence string, escapes bool) error {
	at := l.pos()
	l.skip(len(fence))
	for l.at < len(l.src) && l.src[l.at] != '\n' {
		l.step()
	}
	if l.at < len(l.src) {
		l.step()
	}
	var raw strings.Builder
	for l.at < len(l.src) {
		if l.at == l.bol {
			rest := l.src[l.at:]
			indent := len(rest) - len(strings.TrimLeft(rest, " \t"))
			if strings.HasPrefix(rest[indent:], fence) {
				l.skip(indent + len(fence))
				t.text = unindent(raw.String(), indent)
				return nil
			}
		}
		switch c := l.src[l.at]; {
		case escapes && c == '#' && l.peek(1) == '{':
			t.code = true
			if err := l.interpolation(); err != nil {
				return err
			}
		case escapes && c == '\\':
			if err := l.escape(&raw); err != nil {
				return err
			}
		default:
			raw.WriteByte(c)
			l.step()
		}
	}
	return errorAt(at, "%s is not closed", fence)
}

func unindent(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		cut := min(n, len(line)-len(strings.TrimLeft(line, " \t")))
		lines[i] = line[cut:]
	}
	return strings.Join(lines, "")
}

// interpolation skips #{ … } with the strings and braces in it.
func (l *lexer) interpolation() error {
	at := l.pos()
	if l.depth++; l.depth > maxDepth {
		return errorAt(at, "more than %d interpolations in one another", maxDepth)
	}
	defer func() { l.depth-- }()
	l.skip(2)
	for braces := 1; braces > 0; {
		t, err := l.next()
		switch {
		case err != nil:
			return err
		case t.kind == tEOF:
			return errorAt(at, "#{ is not closed")
		case t.is("{"):
			braces++
		case t.is("}"):
			braces--
		}
	}
	return nil
}

// escape reads a backslash and what it stands before.
func (l *lexer) escape(b *strings.Builder) error {
	at := l.pos()
	l.step()
	if l.at >= len(l.src) {
		return errorAt(at, "the source ends in a backslash")
	}
	c := l.src[l.at]
	l.step()
	simple := map[byte]string{'n': "\n", 't': "\t", 'r': "\r", 's': " ", 'e': "\x1b", '0': "\x00", 'a': "\a", 'b': "\b", 'd': "\x7f", 'f': "\f", 'v': "\v", '\n': ""}
	if s, ok := simple[c]; ok {
		b.WriteString(s)
		return nil
	}
	if c != 'u' && c != 'x' {
		b.WriteByte(c)
		return nil
	}
	var hex string
	if rest := l.src[l.at:]; strings.HasPrefix(rest, "{") {
		end := strings.IndexByte(rest, '}')
		if end < 0 || end > 7 {
			return errorAt(at, `\%c{ is not closed`, c)
		}
		hex = rest[1:end]
		l.skip(end + 1)
	} else {
		n := map[byte]int{'u': 4, 'x': 2}[c]
		hex = rest[:min(n, len(rest))]
		if strings.Contains(hex, "\n") {
			return errorAt(at, `\%c wants %d hexadecimal digits`, c, n)
		}
		l.skip(len(hex))
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || n > utf8.MaxRune {
		return errorAt(at, `\%c%s is not a character`, c, hex)
	}
	if c == 'x' && n < 256 {
		b.WriteByte(byte(n))
	} else {
		b.WriteRune(rune(n))
	}
	return nil
}

// closers are the delimiters of sigils.
var closers = map[byte]byte{'/': '/', '|': '|', '"': '"', '\'': '\'', '(': ')', '[': ']', '{': '}', '<': '>'}

func (l *lexer) sigil(t *token) error {
	t.kind = tSigil
	l.step()
	from := l.at
	for isWord(l.peek(0)) {
		l.step()
	}
	t.sigil = l.src[from:l.at]
	escapes := t.sigil[0] >= 'a'
	open := l.peek(0)
	shut, ok := closers[open]
	if !ok {
		return errorAt(t.Pos, "~%s is not followed by a delimiter", t.sigil)
	}
	fence := strings.Repeat(string(open), 3)
	var err error
	if (open == '"' || open == '\'') && l.has(fence) {
		err = l.heredoc(t, fence, escapes)
	} else {
		err = l.text(t, open, shut, escapes)
	}
	from = l.at
	for isLetter(l.peek(0)) {
		l.step()
	}
	t.mods = l.src[from:l.at]
	return err
}
