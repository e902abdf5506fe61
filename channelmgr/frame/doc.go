// Package frame is wire format v1 of links between nodes, fixed byte by byte
// in docs/protocol/frame-v1.md: encoders that append to a caller's buffer and
// parsers that fill a caller's struct with views of the input. It keeps no
// state and does no input or output.
//
// All numbers are big endian. A frame is a 32-bit length of what follows, a
// kind, flags, and the kind's fields. Every parser checks each length against
// what is there before it uses it; an error is an *Error with a typed reason.
package frame
