// Package handshake turns a byte stream into an authenticated one and tells
// both ends who the other is: the clear preface, TLS by shared secret or by
// certificates, and the hellos, byte by byte in docs/protocol/handshake.md.
//
// Nothing of this package's input comes from a peer that is known to be a
// friend. Its parsers are small, bounded and separate from those of frames;
// one deadline covers everything; an unauthenticated peer gets coarse answers
// while the local error is detailed. Every failure is an *Error.
package handshake
