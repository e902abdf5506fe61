//go:build linux

package faultnet

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// entry says what became of the numbers From to To-1 between two lives.
type entry struct {
	kind     uint8
	peer     string // at most maxName bytes
	life     uint64 // of the peer, where it is known
	from, to uint64
}

// Kinds of entries. The peer of sent, refused and lost messages is the node
// they were for, of the others the life they came from.
const (
	entrySent     = uint8(iota + 1) // about to be sent
	entryGot                        // in the sink's mailbox
	entryRefused                    // a dead letter here, of this node's own
	entryReturned                   // a dead letter here, of another node's
	entryLost                       // perhaps lost; numbered by the flow, not by the sender
	entryDisorder                   // in the sink's mailbox, but not above all before
)

const (
	entrySize = 56
	maxName   = 23
)

func (e entry) encode(b *[entrySize]byte) {
	clear(b[:])
	b[0] = e.kind
	copy(b[1:1+maxName], e.peer)
	binary.LittleEndian.PutUint64(b[24:], e.life)
	binary.LittleEndian.PutUint64(b[32:], e.from)
	binary.LittleEndian.PutUint64(b[40:], e.to)
}

func decodeEntry(b []byte) entry {
	return entry{b[0], strings.TrimRight(string(b[1:1+maxName]), "\x00"), binary.LittleEndian.Uint64(b[24:]), binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])}
}

// stream is what entries of one kind are about.
type stream struct {
	kind uint8
	peer string
	life uint64
}

// place is a stream's last entry, which grows as long as numbers follow each
// other.
type place struct {
	entry
	at int64
}

// ledger is the book of one life of a node. What add has returned for is in the
// file, whatever happens to the process.
type ledger struct {
	mu   sync.Mutex
	file *os.File
	size int64
	last map[stream]*place
}

// ledgerName is the file of a life.
func ledgerName(dir, node string, life uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%d.ledger", node, life))
}

func openLedger(dir, node string, life uint64) (*ledger, error) {
	f, err := os.Create(ledgerName(dir, node, life))
	return &ledger{file: f, last: make(map[stream]*place)}, err
}

// add books the numbers from to to-1.
func (l *ledger) add(kind uint8, peer string, life, from, to uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(stream{kind, peer, life}, from, to)
}

// got books a message that has arrived.
func (l *ledger) got(peer string, life, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := stream{entryGot, peer, life}
	if p := l.last[s]; p != nil && n < p.to {
		s.kind = entryDisorder
	}
	l.put(s, n, n+1)
}

func (l *ledger) put(s stream, from, to uint64) {
	p := l.last[s]
	switch {
	case p == nil || s.kind == entryDisorder:
		p = &place{entry{s.kind, s.peer, s.life, from, to}, l.size}
		l.last[s] = p
		l.size += entrySize
	case from == p.to:
		p.to = to
	default:
		p.from, p.to, p.at = from, to, l.size
		l.size += entrySize
	}
	var b [entrySize]byte
	p.encode(&b)
	if _, err := l.file.WriteAt(b[:], p.at); err != nil {
		panic(fmt.Sprintf("faultnet: the ledger cannot be kept: %v", err)) // a test without its books is none
	}
}

// book is a ledger that was read.
type book struct {
	node    string
	life    uint64
	entries []entry
}

func readBooks(dir string) ([]book, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.ledger"))
	if err != nil {
		return nil, err
	}
	var books []book
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".ledger")
		i := strings.LastIndexByte(name, '-')
		life, err := strconv.ParseUint(name[i+1:], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("faultnet: %s: %w", f, err)
		}
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		b := book{node: name[:i], life: life}
		for ; len(data) >= entrySize; data = data[entrySize:] {
			b.entries = append(b.entries, decodeEntry(data))
		}
		books = append(books, b)
	}
	return books, nil
}
