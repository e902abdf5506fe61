package roster

import (
	"slices"
	"testing"
)

// TestHolder: a record that we hold is recognized by its bytes, and nothing else is
// taken for it.
func TestHolder(t *testing.T) {
	rec := recordOf(peerOf("bb"))
	rec.Version = 2
	b := rec.encode()
	held, err := decodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	tab := table{byName: map[string]*entry{"bb": {rec: held}, "ccc": {rec: &Record{}}}}
	if tab.holder(slices.Clone(b)) == nil {
		t.Error("what is held was not recognized")
	}
	other := rec
	other.Version++
	ccc := recordOf(peerOf("ccc"))
	for name, b := range map[string][]byte{
		"another version": other.encode(), "another node": recordOf(peerOf("dddd")).encode(), "one that was never seen": ccc.encode(),
		"nothing": nil, "a name cut off": b[:3], "no name": {0x08, 1}, "no tag": {0xff}, "more than is held": append(slices.Clone(b), 0x08, 1),
	} {
		if tab.holder(b) != nil {
			t.Errorf("%s was taken for what is held", name)
		}
	}
}
