package handshake

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
)

var update = flag.Bool("update", false, "write the golden captures anew")

var sample = Hello{Class: Bulk, Index: 3, Cluster: "shop", Name: "orders-1", Incarnation: 0x0102030405060708, Generation: 2, Addrs: []string{"10.0.0.7:6278", "[::1]:6278"}, Expect: "stock-2", MaxMessage: 64 << 20, Codecs: []string{"protobuf", "bytes"}}

// The bytes of a handshake are what the golden captures say.
func TestGolden(t *testing.T) {
	for name, b := range map[string][]byte{
		"preface": preface(ModeSecret),
		"hello":   appendHello(nil, sample),
		"answer":  appendAnswer(nil, Answer{Reason: messages.ReasonNameTaken, Known: 5, Detail: "see the reason"}),
	} {
		file := filepath.Join("testdata", name+".hex")
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(file, []byte(hex.Dump(b)), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), hex.Dump(b), name)
	}
}

// A hello and an answer come back; a tail that a later version adds is skipped.
func TestRoundTrip(t *testing.T) {
	b := appendHello(nil, sample)
	h, err := parseHello(b[2:])
	require.NoError(t, err)
	require.Equal(t, sample, h)
	h, err = parseHello(append(b[2:], "what a later version adds"...))
	require.NoError(t, err)
	require.Equal(t, sample, h)
	for _, why := range answerCodes {
		a, err := readAnswer(bytes.NewReader(appendAnswer(nil, Answer{Reason: why, Known: 1, Detail: "x\n"})))
		require.NoError(t, err)
		require.Equal(t, Answer{Reason: why, Known: 1, Detail: "x?"}, a)
	}
}

func FuzzHello(f *testing.F) {
	f.Add(appendHello(nil, sample)[2:])
	look := sample
	look.Class, look.Clock = Look, 1e12
	f.Add(appendHello(nil, look)[2:])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHello(b)
		if err != nil {
			return
		}
		again, err := parseHello(appendHello(nil, h)[2:])
		if err != nil {
			t.Fatalf("%+v does not come back: %v", h, err)
		}
		require.Equal(t, h, again)
	})
}

func FuzzPreface(f *testing.F) {
	f.Add(preface(ModeSecret))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < prefaceSize {
			return
		}
		code, err := parsePreface(b[:prefaceSize], ModeSecret)
		if (code == prefaceOK) != (err == nil) {
			t.Fatalf("code %d with %v", code, err)
		}
	})
}
