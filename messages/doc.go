// Package messages is the wire vocabulary of Maquis: the protobuf messages
// that nodes and runtime actors exchange, the registry that maps message
// types to names and codecs, and Describe, a stable one-line text of any of
// them for golden files, logs and traces.
//
// A message is immutable from the moment it is sent. The package imports
// nothing of ours.
package messages
