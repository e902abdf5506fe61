package handshake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Version is the protocol version of this program.
const Version = 1

// MaxHello bounds a hello in bytes.
const MaxHello = 4 << 10

// Class says what a link is for.
type Class uint8

// Classes.
const (
	Control Class = 1 // heartbeats, membership, reports
	Bulk    Class = 2 // messages of actors
	Look    Class = 3 // no link: the acceptor says who it is and whether it would let the dialer in, and both close
)

// Hello is what a node says about itself and the link it wants.
type Hello struct {
	Class       Class
	Index       uint8 // of a data link
	Cluster     string
	Name        string
	Incarnation overlay.Incarnation
	Generation  uint64
	Addrs       []string // advertised, best first
	Expect      string   // whom the dialer wants; empty for a contact
	MaxMessage  uint32   // bytes of one message
	Features    uint64   // reserved
	Codecs      []string
	Clock       int64 // the sender's, in Unix milliseconds: in the answer to a Look, 0 elsewhere
}

// Peer returns the life that says this hello.
func (h Hello) Peer() overlay.Peer {
	p := overlay.Peer{Name: h.Name, Incarnation: h.Incarnation}
	if len(h.Addrs) > 0 {
		p.Addr = h.Addrs[0]
	}
	return p
}

// Validate reports what makes a hello unusable, ours or a peer's.
func (h Hello) Validate() error {
	switch {
	case h.Class < Control || h.Class > Look:
		return fmt.Errorf("class %d", h.Class)
	case h.Name == "" || len(h.Name) > 255:
		return fmt.Errorf("a node name of %d bytes; 1 to 255 are allowed", len(h.Name))
	case h.Cluster == "" || len(h.Cluster) > 255:
		return fmt.Errorf("a cluster name of %d bytes; 1 to 255 are allowed", len(h.Cluster))
	case h.Incarnation == 0 || h.Generation == 0:
		return errors.New("no incarnation or generation")
	case len(h.Addrs) == 0 || len(h.Addrs) > 8 || len(h.Codecs) > 16 || len(h.Expect) > 255:
		return errors.New("a list that is empty or too long")
	}
	for _, a := range slices.Concat(h.Addrs, h.Codecs) {
		if a == "" || len(a) > 255 {
			return fmt.Errorf("an entry of %d bytes", len(a))
		}
	}
	return nil
}

// appendHello appends the hello with its 16-bit length.
//
//	0  length      u16  bytes after this field
//	2  format      u8   1
//	3  class       u8
//	4  index       u8
//	5  reserved    u8   0
//	6  incarnation u64
//	14 generation  u64
//	22 max message u32
//	26 features    u64
//	34 cluster, name, expected name: text8 each
//	   addresses, codecs: u8 count, then text8 each
//	   clock    i64, of class Look only
//	   what follows is skipped
func appendHello(dst []byte, h Hello) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 1, byte(h.Class), h.Index, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Incarnation))
	dst = binary.BigEndian.AppendUint64(dst, h.Generation)
	dst = binary.BigEndian.AppendUint32(dst, h.MaxMessage)
	dst = binary.BigEndian.AppendUint64(dst, h.Features)
	for _, s := range []string{h.Cluster, h.Name, h.Expect} {
		dst = append(append(dst, byte(len(s))), s...)
	}
	for _, list := range [][]string{h.Addrs, h.Codecs} {
		dst = append(dst, byte(len(list)))
		for _, s := range list {
			dst = append(append(dst, byte(len(s))), s...)
		}
	}
	if h.Class == Look {
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.Clock))
	}
	binary.BigEndian.PutUint16(dst[start:], uint16(len(dst)-start-2))
	return dst
}

// parseHello reads a hello without its length.
func parseHello(b []byte) (Hello, error) {
	if len(b) < 32 || b[0] != 1 || b[3] != 0 {
		return Hello{}, errors.New("a malformed head")
	}
	h := Hello{
		Class:       Class(b[1]),
		Index:       b[2],
		Incarnation: overlay.Incarnation(binary.BigEndian.Uint64(b[4:])),
		Generation:  binary.BigEndian.Uint64(b[12:]),
		MaxMessage:  binary.BigEndian.Uint32(b[20:]),
		Features:    binary.BigEndian.Uint64(b[24:]),
	}
	b = b[32:]
	short := false
	text := func() string {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			short, b = true, nil
			return ""
		}
		s := string(b[1 : 1+int(b[0])])
		b = b[1+len(s):]
		return s
	}
	list := func() (l []string) {
		if len(b) == 0 {
			short = true
			return nil
		}
		n := int(b[0])
		b = b[1:]
		for i := 0; i < n && !short; i++ {
			l = append(l, text())
		}
		return l
	}
	h.Cluster, h.Name, h.Expect = text(), text(), text()
	h.Addrs, h.Codecs = list(), list()
	if h.Class == Look && len(b) >= 8 {
		h.Clock = int64(binary.BigEndian.Uint64(b))
	}
	if short {
		return Hello{}, errors.New("a truncated field")
	}
	return h, h.Validate()
}

func readHello(r io.Reader) (Hello, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Hello{}, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > MaxHello {
		return Hello{}, &Error{Reason: messages.ReasonOversize, Err: fmt.Errorf("a hello of %d bytes, the limit is %d", n, MaxHello)}
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return Hello{}, err
	}
	h, err := parseHello(b)
	if err != nil {
		return Hello{}, &Error{Reason: messages.ReasonBadFrame, Err: fmt.Errorf("malformed hello: %w", err)}
	}
	return h, nil
}

// Answer is an acceptor's verdict on a hello.
type Answer struct {
	Reason messages.Reason // "" accepts
	Known  uint64          // the generation that it remembers of the dialer's name, see overlay.LinkUp
	Detail string          // for the dialer's operator, at most 200 bytes
}

// answerCodes are the reasons as they travel. A code never changes its
// meaning.
var answerCodes = []messages.Reason{
	0: "", 1: messages.ReasonWrongCluster, 2: messages.ReasonWrongName, 3: messages.ReasonNameTaken,
	4: messages.ReasonDown, 5: messages.ReasonSelf, 6: messages.ReasonDuplicate, 7: messages.ReasonLimit,
	8: messages.ReasonDisconnected, 9: messages.ReasonVersion, 10: messages.ReasonRefused, 11: messages.ReasonBadFrame,
	12: messages.ReasonCertificate, 13: messages.ReasonStopped,
}

func appendAnswer(dst []byte, a Answer) []byte {
	code := slices.Index(answerCodes, a.Reason)
	if code < 0 {
		code = slices.Index(answerCodes, messages.ReasonRefused)
	}
	detail := a.Detail[:min(len(a.Detail), 200)]
	dst = append(dst, byte(code))
	dst = binary.BigEndian.AppendUint64(dst, a.Known)
	return append(append(dst, byte(len(detail))), detail...)
}

func readAnswer(r io.Reader) (Answer, error) {
	var head [10]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Answer{}, err
	}
	detail := make([]byte, head[9])
	if _, err := io.ReadFull(r, detail); err != nil {
		return Answer{}, err
	}
	a := Answer{Reason: messages.ReasonRefused, Known: binary.BigEndian.Uint64(head[1:]), Detail: printable(detail)}
	if int(head[0]) < len(answerCodes) {
		a.Reason = answerCodes[head[0]]
	}
	return a, nil
}

// printable makes a peer's text fit for a log line.
func printable(b []byte) string {
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
