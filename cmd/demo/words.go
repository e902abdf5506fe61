package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A word is a run of letters and digits, in lower case.

// countChunk counts the words of a chunk: what the actors do.
func countChunk(text []byte) (counts map[string]uint64, words uint64) {
	counts = make(map[string]uint64)
	var word []byte
	flush := func() {
		if len(word) > 0 {
			counts[string(word)]++
			words++
			word = word[:0]
		}
	}
	for len(text) > 0 {
		r, n := rune(text[0]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text)
		}
		text = text[n:]
		switch {
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			word = append(word, byte(r))
		case 'A' <= r && r <= 'Z':
			word = append(word, byte(r-'A'+'a'))
		case r >= utf8.RuneSelf && !(r == utf8.RuneError && n == 1) && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			word = utf8.AppendRune(word, unicode.ToLower(r))
		default:
			flush()
		}
	}
	flush()
	return counts, words
}

// countFiles counts the words of files one after the other, by other means
// than the actors: it is what their sum is checked against.
func countFiles(paths []string) (counts map[string]uint64, words uint64, err error) {
	counts = make(map[string]uint64)
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, 0, err
		}
		lower := strings.Map(func(r rune) rune {
			if r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
				return unicode.ToLower(r)
			}
			return ' '
		}, strings.ToValidUTF8(string(b), " "))
		s := bufio.NewScanner(strings.NewReader(lower))
		s.Buffer(make([]byte, 64<<10), len(lower)+1)
		s.Split(bufio.ScanWords)
		for s.Scan() {
			counts[s.Text()]++
			words++
		}
		if err := s.Err(); err != nil {
			return nil, 0, err
		}
	}
	return counts, words, nil
}

// listFiles finds the regular files below paths: all of a named file, and of a
// directory those that look like text.
func listFiles(paths []string) ([]string, error) {
	var files []string
	for _, root := range paths {
		info, err := os.Stat(root)
		if err != nil {
			return nil, badUsage("input %q cannot be read: %w", root, err)
		}
		if !info.IsDir() {
			files = append(files, root)
			continue
		}
		err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Type().IsRegular() && isText(p) {
				files = append(files, p)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("walking %q: %w", root, err)
		}
	}
	if len(files) == 0 {
		return nil, badUsage("no text was found in %s", strings.Join(paths, ", "))
	}
	return files, nil
}

func isText(p string) bool {
	switch filepath.Ext(p) {
	case ".go", ".txt", ".md", ".s", ".c", ".h", ".html", ".py", ".ex", ".erl", ".java", ".rs", ".proto":
		return true
	}
	return false
}

// chunkSize is the size that chunks aim at.
const chunkSize = 128 << 10

// chunks reads files and hands their text out in pieces that end where no word
// is cut: at the end of a file or behind a line.
func chunks(files []string, emit func(text []byte) error) (size int64, err error) {
	var buf []byte
	flush := func() error {
		if len(buf) == 0 {
			return nil
		}
		text := buf
		buf = nil
		return emit(text)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return size, err
		}
		b, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil {
			return size, err
		}
		size += int64(len(b))
		for len(b) > 0 {
			room := chunkSize - len(buf)
			if len(b) <= room {
				buf = append(append(buf, b...), '\n')
				break
			}
			cut := bytes.LastIndexByte(b[:room], '\n') + 1
			if cut == 0 && len(buf) > 0 {
				if err := flush(); err != nil {
					return size, err
				}
				continue
			}
			if cut == 0 { // a line longer than a chunk stays whole
				if cut = bytes.IndexByte(b, '\n') + 1; cut == 0 {
					cut = len(b)
				}
			}
			buf = append(buf, b[:cut]...)
			b = b[cut:]
			if err := flush(); err != nil {
				return size, err
			}
		}
		if len(buf) >= chunkSize {
			if err := flush(); err != nil {
				return size, err
			}
		}
	}
	return size, flush()
}
