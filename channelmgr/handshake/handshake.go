package handshake

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/maquis-go/maquis/messages"
)

// Timeout bounds a handshake whose context has no deadline.
const Timeout = 5 * time.Second

// Error is why a handshake came to nothing. Known is set with ReasonDown and
// ReasonNameTaken.
type Error struct {
	Reason messages.Reason
	Known  uint64
	Err    error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return "handshake: " + string(e.Reason)
	}
	return "handshake: " + string(e.Reason) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Dial does the dialer's part on a fresh connection. It returns the stream
// and the acceptor's hello and answer, or closes conn and returns an *Error.
func Dial(ctx context.Context, conn net.Conn, sec *Security, mine Hello) (*Stream, Hello, Answer, error) {
	stop := bound(ctx, conn)
	st, theirs, a, err := dial(conn, sec, mine)
	if err = finish(ctx, conn, stop, err); err != nil {
		return nil, theirs, a, err
	}
	return st, theirs, a, nil
}

// LookAt asks who is at the other end of a fresh connection and whether it would
// let mine in, of class Look; then it closes conn. The hello, and with it the
// peer's clock, is known also of a peer that refuses by its rules, which is an
// *Error as with Dial.
func LookAt(ctx context.Context, conn net.Conn, sec *Security, mine Hello) (Hello, error) {
	mine.Class = Look
	st, theirs, _, err := Dial(ctx, conn, sec, mine)
	if err != nil {
		return theirs, err
	}
	return theirs, st.Close()
}

func dial(conn net.Conn, sec *Security, mine Hello) (*Stream, Hello, Answer, error) {
	if err := mine.Validate(); err != nil {
		return nil, Hello{}, Answer{}, &Error{Reason: messages.ReasonInternal, Err: err}
	}
	if err := dialPreface(conn, sec.mode); err != nil {
		return nil, Hello{}, Answer{}, err
	}
	st := newStream(conn)
	if sec.mode != ModeInsecure {
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		st.secure(func(c net.Conn) *tls.Conn { return tls.Client(c, sec.client(host)) })
		if err := st.tls.Handshake(); err != nil {
			return nil, Hello{}, Answer{}, err
		}
	}
	if _, err := st.Write(appendHello(nil, mine)); err != nil {
		return nil, Hello{}, Answer{}, err
	}
	a, err := readAnswer(st)
	if err != nil {
		return nil, Hello{}, Answer{}, err
	}
	if a.Reason != "" {
		var theirs Hello
		if mine.Class == Look || a.Reason == messages.ReasonDuplicate {
			theirs, _ = readHello(st) // not of one that refuses before it asks its rules
		}
		return nil, theirs, a, &Error{Reason: a.Reason, Known: a.Known, Err: fmt.Errorf("the peer refused: %s", a.Detail)}
	}
	theirs, err := readHello(st)
	if err != nil {
		return nil, Hello{}, Answer{}, err
	}
	switch {
	case theirs.Cluster != mine.Cluster:
		err = &Error{Reason: messages.ReasonWrongCluster, Err: fmt.Errorf("the peer belongs to cluster %q, this node to %q", theirs.Cluster, mine.Cluster)}
	case mine.Expect != "" && theirs.Name != mine.Expect:
		err = &Error{Reason: messages.ReasonWrongName, Err: fmt.Errorf("node %q answered where %q was expected", theirs.Name, mine.Expect)}
	default:
		err = st.checkName(sec, theirs.Name)
	}
	if err != nil {
		return nil, Hello{}, Answer{}, err
	}
	return st, theirs, a, nil
}

// Accept does the acceptor's part. decide sees the dialer's hello, whose
// cluster and certificate are checked already, and says what we are and
// whether the dialer is let in; it must not block.
func Accept(ctx context.Context, conn net.Conn, sec *Security, cluster string, decide func(theirs Hello, remote net.Addr) (mine Hello, a Answer)) (*Stream, Hello, Answer, error) {
	stop := bound(ctx, conn)
	st, theirs, a, err := accept(conn, sec, cluster, decide)
	if err = finish(ctx, conn, stop, err); err != nil {
		return nil, theirs, a, err
	}
	return st, theirs, a, nil
}

func accept(conn net.Conn, sec *Security, cluster string, decide func(Hello, net.Addr) (Hello, Answer)) (*Stream, Hello, Answer, error) {
	if err := acceptPreface(conn, sec.mode); err != nil {
		return nil, Hello{}, Answer{}, err
	}
	st := newStream(conn)
	if sec.mode != ModeInsecure {
		st.secure(func(c net.Conn) *tls.Conn { return tls.Server(c, sec.server()) })
		if err := st.tls.Handshake(); err != nil {
			return nil, Hello{}, Answer{}, err
		}
	}
	theirs, err := readHello(st)
	if err != nil {
		var he *Error
		if errors.As(err, &he) {
			_, _ = st.Write(appendAnswer(nil, Answer{Reason: messages.ReasonBadFrame}))
		}
		return nil, Hello{}, Answer{}, err
	}
	var mine Hello
	refuse := func(a Answer, err error) (*Stream, Hello, Answer, error) {
		out := appendAnswer(nil, a)
		if mine.Class == Look || a.Reason == messages.ReasonDuplicate { // who we are is news
			out = appendHello(out, mine)
		}
		_, _ = st.Write(out)
		return nil, theirs, a, &Error{Reason: a.Reason, Known: a.Known, Err: err}
	}
	if theirs.Cluster != cluster {
		return refuse(Answer{Reason: messages.ReasonWrongCluster}, fmt.Errorf("node %q belongs to cluster %q, this node to %q", theirs.Name, theirs.Cluster, cluster))
	}
	if err := st.checkName(sec, theirs.Name); err != nil {
		return refuse(Answer{Reason: messages.ReasonCertificate, Detail: "the node's name is not in its certificate"}, err)
	}
	mine, a := decide(theirs, conn.RemoteAddr())
	if theirs.Class == Look {
		mine.Class, mine.Clock = Look, time.Now().UnixMilli()
	}
	if a.Reason != "" {
		return refuse(a, fmt.Errorf("node %q (%s): %s", theirs.Name, conn.RemoteAddr(), a.Detail))
	}
	if _, err := st.Write(appendHello(appendAnswer(nil, a), mine)); err != nil {
		return nil, theirs, a, err
	}
	return st, theirs, a, nil
}

// bound puts one deadline on everything, and lets ctx cut it short.
func bound(ctx context.Context, conn net.Conn) (stop func() bool) {
	if d, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(d)
	} else {
		_ = conn.SetDeadline(time.Now().Add(Timeout))
	}
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// finish lifts the deadline, or closes conn and types the error.
func finish(ctx context.Context, conn net.Conn, stop func() bool, err error) error {
	stop()
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil {
		return conn.SetDeadline(time.Time{})
	}
	_ = conn.Close()
	var he *Error
	if errors.As(err, &he) {
		return he
	}
	return &Error{Reason: classify(err), Err: err}
}

// SaidExpired reports whether the peer refused our certificate for its times.
func SaidExpired(e *Error) bool {
	return e.Err != nil && strings.Contains(e.Err.Error(), "remote error") && strings.Contains(e.Err.Error(), "expired")
}

// classify names what went wrong below the hellos.
func classify(err error) messages.Reason {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var alert tls.AlertError
	var header tls.RecordHeaderError
	text := err.Error()
	switch {
	case errors.As(err, &unknown):
		return messages.ReasonWrongSecret
	case errors.As(err, &invalid), errors.As(err, &host):
		return messages.ReasonCertificate
	case errors.As(err, &header):
		return messages.ReasonNotMaquis
	case errors.As(err, &alert), strings.Contains(text, "remote error: tls"):
		if strings.Contains(text, "expired") {
			return messages.ReasonCertificate
		}
		return messages.ReasonWrongSecret
	case strings.Contains(text, "certificate"):
		return messages.ReasonCertificate
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return messages.ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return messages.ReasonRefused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return messages.ReasonReset
	}
	return messages.ReasonReset
}
