package handshake

import (
	"bytes"
	"fmt"
	"io"

	"github.com/maquis-go/maquis/messages"
)

// The preface, in clear, from the dialer:
//
//	0 magic "MAQ\x01"
//	4 lowest version, highest version, mode, 0
//
// and the acceptor's answer, one byte.
const prefaceSize = 8

var magic = [4]byte{'M', 'A', 'Q', 1}

// Codes of the answer to a preface.
const (
	prefaceOK      byte = 0
	prefaceVersion byte = 1
	prefaceMode    byte = 2
	prefaceBusy    byte = 3
)

func preface(mode Mode) []byte {
	return append(magic[:], Version, Version, byte(mode), 0)
}

// parsePreface returns the code for the dialer and the error for us.
func parsePreface(b []byte, mode Mode) (byte, error) {
	if !bytes.Equal(b[:4], magic[:]) {
		return 0xff, &Error{Reason: messages.ReasonNotMaquis, Err: fmt.Errorf("the peer sent %s instead of a preface", guess(b))}
	}
	if low, high := b[4], b[5]; low > Version || high < Version {
		return prefaceVersion, &Error{Reason: messages.ReasonVersion, Err: fmt.Errorf("the peer speaks versions %d to %d, this node %d", low, high, Version)}
	}
	if Mode(b[6]) != mode {
		return prefaceMode, &Error{Reason: messages.ReasonWrongMode, Err: fmt.Errorf("the peer uses security mode %s, this node %s", Mode(b[6]), mode)}
	}
	return prefaceOK, nil
}

// guess names what speaks at the other end.
func guess(b []byte) string {
	switch {
	case b[0] == 0x16 && b[1] == 3:
		return "a TLS client hello"
	case bytes.HasPrefix(b, []byte("GET ")), bytes.HasPrefix(b, []byte("POST ")), bytes.HasPrefix(b, []byte("HEAD ")), bytes.HasPrefix(b, []byte("PRI ")):
		return "an HTTP request"
	case bytes.HasPrefix(b, []byte("HTTP")):
		return "an HTTP response"
	}
	return fmt.Sprintf("%q", b)
}

// dialPreface sends ours and reads the answer.
func dialPreface(rw io.ReadWriter, mode Mode) error {
	if _, err := rw.Write(preface(mode)); err != nil {
		return err
	}
	var code [1]byte
	if _, err := io.ReadFull(rw, code[:]); err != nil {
		return err
	}
	switch code[0] {
	case prefaceOK:
		return nil
	case prefaceVersion:
		return &Error{Reason: messages.ReasonVersion, Err: fmt.Errorf("the peer does not speak version %d", Version)}
	case prefaceMode:
		return &Error{Reason: messages.ReasonWrongMode, Err: fmt.Errorf("the peer does not use security mode %s", mode)}
	case prefaceBusy:
		return &Error{Reason: messages.ReasonLimit, Err: fmt.Errorf("the peer has too many handshakes in progress")}
	}
	return &Error{Reason: messages.ReasonNotMaquis, Err: fmt.Errorf("what listens there answered %q instead of a preface's answer", code[:])}
}

// acceptPreface reads the dialer's and answers it.
func acceptPreface(rw io.ReadWriter, mode Mode) error {
	var b [prefaceSize]byte
	if _, err := io.ReadFull(rw, b[:]); err != nil {
		return err
	}
	code, err := parsePreface(b[:], mode)
	if code != 0xff {
		if _, werr := rw.Write([]byte{code}); err == nil {
			err = werr
		}
	}
	return err
}

// Busy answers a dialer whom there is no room for and closes nothing.
func Busy(w io.Writer) { _, _ = w.Write([]byte{prefaceBusy}) }
