package roster

import (
	"strings"
	"testing"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// TestRecordLimits: what is beyond them is named when it is ours, and rejected
// as malformed when it is a peer's.
func TestRecordLimits(t *testing.T) {
	many := func(n int, s string) (list []string) {
		for range n {
			list = append(list, s)
		}
		return list
	}
	for what, change := range map[string]func(*Record){
		"no name":        func(r *Record) { r.Peer.Name = "" },
		"a long name":    func(r *Record) { r.Peer.Name = strings.Repeat("x", maxName+1) },
		"no incarnation": func(r *Record) { r.Peer.Incarnation = 0 },
		"no generation":  func(r *Record) { r.Generation = 0 },
		"no version":     func(r *Record) { r.Version = 0 },
		"a huge version": func(r *Record) { r.Version = maxNumber + 1 },
		"no address":     func(r *Record) { r.Addrs = nil },
		"many addresses": func(r *Record) { r.Addrs = append(r.Addrs, many(maxAddrs, "x:1")...) },
		"an empty one":   func(r *Record) { r.Addrs = append(r.Addrs, "") },
		"large tags":     func(r *Record) { r.Tags = map[string]string{"k": strings.Repeat("v", maxTagBytes)} },
		"many kinds":     func(r *Record) { r.Kinds = many(maxKinds+1, "k") },
		"large kinds":    func(r *Record) { r.Kinds = many(maxKindSum/200+1, strings.Repeat("k", 200)) },
		"large metadata": func(r *Record) { r.Metadata = make([]byte, maxMetadata+1) },
		"a long version": func(r *Record) { r.AppVersion = strings.Repeat("v", maxName+1) },
	} {
		r := recordOf(peerOf("x"))
		if change(&r); r.Validate() == nil {
			t.Errorf("%s: is valid", what)
		}
		a := newOne(t, "a")
		a.hear("x", news(r))
		if a.rejects[messages.ReasonMalformed] != 1 || len(a.notices) != 0 {
			t.Errorf("%s: rejected %v, notices %v", what, a.rejects, a.notices)
		}
	}
	a := newOne(t, "a")
	a.hear("x", &messages.RosterUpdate{Records: [][]byte{{0xff}, make([]byte, maxRecord+1)}})
	if a.rejects[messages.ReasonMalformed] != 2 {
		t.Errorf("garbage: rejected %v", a.rejects)
	}
}

// TestRosterIsBounded: when it is full the oldest tombstone gives way to one
// that lives, and if there is none the newcomer is rejected.
func TestRosterIsBounded(t *testing.T) {
	a := newOne(t, "a")
	for i := range MaxMembers - 1 {
		a.table.put(&entry{rec: withRaw(recordOf(peerOf(name(i))))})
	}
	a.hear("c", claim("ghost", StatusDown, 0))
	a.hear("c", news(recordOf(peerOf("first"))))
	if _, ok := a.Lookup("ghost"); ok || told[Up](a) != 1 {
		t.Errorf("the tombstone is still there (%v), or the newcomer was not taken: %v", ok, a.notices)
	}
	a.hear("c", news(recordOf(peerOf("second"))))
	if a.rejects[messages.ReasonLimit] != 1 || told[Up](a) != 1 {
		t.Errorf("one too many was not rejected: %v %v", a.rejects, a.notices)
	}
	a.hear("c", claim("another", StatusDown, 0))
	if _, ok := a.Lookup("another"); ok {
		t.Error("a tombstone was added to a full roster")
	}
}

func withRaw(r Record) *Record {
	r.raw = r.encode()
	return &r
}

// TestTombstonesOfStrangersAreBounded: the youngest are kept.
func TestTombstonesOfStrangersAreBounded(t *testing.T) {
	a := newOne(t, "a")
	a.now = overlay.Time(time.Hour)
	for i := range maxTombstones {
		a.hear("c", claim(name(i), StatusDown, time.Duration(i)*time.Millisecond))
	}
	oldest := name(maxTombstones - 1)
	a.hear("c", claim("elder", StatusDown, time.Minute))
	if _, ok := a.Lookup("elder"); ok {
		t.Error("an older one took the place of a younger")
	}
	a.hear("c", claim("younger", StatusDown, 0))
	if _, ok := a.Lookup("younger"); !ok {
		t.Error("a younger one was not taken")
	}
	if _, ok := a.Lookup(oldest); ok {
		t.Error("the oldest did not give way")
	}
	a.hear("c", claim("ancient", StatusDown, 25*time.Hour))
	if _, ok := a.Lookup("ancient"); ok {
		t.Error("one whose day is over was taken")
	}
}

// TestConfigNamesAllThatIsWrong in one error.
func TestConfigNamesAllThatIsWrong(t *testing.T) {
	_, err := New(Config{RetryMin: 2})
	for _, want := range []string{"a name of 0 bytes", "Config.Rand", "Config.Grace", "Config.Tombstones", "Config.RetryMax"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %s: %v", want, err)
		}
	}
}

// TestOrdersBeyondLimitsChangeNothing.
func TestOrdersBeyondLimitsChangeNothing(t *testing.T) {
	a := newOne(t, "a")
	a.step(overlay.Command{Order: SetTags{Tags: map[string]string{"k": strings.Repeat("v", maxTagBytes)}}})
	a.step(overlay.Command{Order: SetRecord{}})
	if a.self.Version != 1 || a.rejects[messages.ReasonTooLarge] != 2 || len(a.notices) != 0 {
		t.Errorf("version %d, rejected %v, notices %v", a.self.Version, a.rejects, a.notices)
	}
	a.step(overlay.Command{Order: SetRecord{Record{Peer: overlay.Peer{Addr: "new:1"}, Addrs: []string{"new:1"}, Metadata: []byte("m")}}})
	if a.self.Version != 2 || a.self.Peer != (overlay.Peer{Name: "a", Incarnation: 2, Addr: "new:1"}) || told[SelfChanged](a) != 1 {
		t.Errorf("our record is %+v, notices %v", a.self, a.notices)
	}
}
