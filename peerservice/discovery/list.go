package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxListSize bounds a file or an output that is read as a list.
const maxListSize = 4 << 20

// parseList reads candidates in one of two forms. Lines:
//
//	# comment
//	10.0.0.7:6278 name=orders-0 zone=eu-1a
//	orders-1.orders
//	'super.eua.ericsson.se'.     % a line of .hosts.erlang
//
// or JSON, an array of such addresses or of objects with addr, name, zone and
// terminating. Bad entries are left out and named in the error, with their
// line.
func parseList(data []byte, port int) ([]Candidate, error) {
	if len(data) > maxListSize {
		return nil, fmt.Errorf("discovery: a list of more than %d bytes; use a shorter one", maxListSize)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if t := bytes.TrimSpace(data); len(t) > 0 && t[0] == '[' && json.Valid(t) {
		return parseJSONList(t, port)
	}
	return parseLines(data, port)
}

// tooManyErrors bounds what is said about a file that is no list at all.
const tooManyErrors = 8

func parseLines(data []byte, port int) (list []Candidate, err error) {
	var errs []error
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := string(line)
		if i := commentAt(text); i >= 0 {
			text = text[:i]
		}
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if c, err := parseEntry(fields, port); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
		} else {
			list = append(list, c)
		}
		if len(errs) == tooManyErrors {
			errs = append(errs, errors.New("the rest was not read"))
			break
		}
	}
	return list, errors.Join(errs...)
}

// commentAt finds the start of a comment: '#' anywhere, or '%' that is not the
// zone of an IPv6 address.
func commentAt(text string) int {
	for i, r := range text {
		if r == '#' || r == '%' && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t' || text[i-1] == '.') {
			return i
		}
	}
	return -1
}

func parseEntry(fields []string, port int) (Candidate, error) {
	addr := fields[0]
	if strings.HasPrefix(addr, "'") || !strings.Contains(addr, ":") {
		// An Erlang term: an atom and a full stop. A final dot of a DNS name is
		// taken for one too, which is as well.
		addr = strings.TrimSuffix(addr, ".")
		if quoted, is := strings.CutPrefix(addr, "'"); is {
			if addr, is = strings.CutSuffix(quoted, "'"); !is {
				return Candidate{}, badAddress(fields[0], "the quote is not closed")
			}
		}
	}
	a, err := Address(addr, port)
	if err != nil {
		return Candidate{}, err
	}
	c := Candidate{Addr: a}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "name":
			c.Name = value
		case "zone":
			c.Zone = value
		default:
			return Candidate{}, fmt.Errorf("%q after %s: use name=… and zone=…", f, fields[0])
		}
	}
	return c, nil
}

// jsonCandidate is a Candidate in a file, in etcd and in Local's records.
type jsonCandidate struct {
	Addr        string `json:"addr"`
	Name        string `json:"name,omitempty"`
	Zone        string `json:"zone,omitempty"`
	Terminating bool   `json:"terminating,omitempty"`
}

func (j jsonCandidate) candidate(port int) (Candidate, error) {
	a, err := Address(j.Addr, port)
	return Candidate{Addr: a, Name: j.Name, Zone: j.Zone, Terminating: j.Terminating}, err
}

func parseJSONList(data []byte, port int) (list []Candidate, err error) {
	var entries []json.RawMessage
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, err
	}
	var errs []error
	for i, e := range entries {
		if c, err := parseJSONEntry(e, port); err != nil {
			errs = append(errs, fmt.Errorf("entry %d: %w", i+1, err))
		} else {
			list = append(list, c)
		}
		if len(errs) == tooManyErrors {
			errs = append(errs, errors.New("the rest was not read"))
			break
		}
	}
	return list, errors.Join(errs...)
}

func parseJSONEntry(e []byte, port int) (Candidate, error) {
	var j jsonCandidate
	if json.Unmarshal(e, &j.Addr) != nil {
		d := json.NewDecoder(bytes.NewReader(e))
		d.DisallowUnknownFields()
		if err := d.Decode(&j); err != nil {
			return Candidate{}, fmt.Errorf("%w; use \"host:port\" or {\"addr\": …, \"name\": …, \"zone\": …}", err)
		}
	}
	return j.candidate(port)
}

// listed is the snapshot of a list: partial where entries were bad.
func listed(where string, data []byte, port int) Snapshot {
	list, err := parseList(data, port)
	s := whole(list)
	if err != nil {
		s.Partial, s.Err = true, errors.Join(s.Err, fmt.Errorf("%s: %w", where, err))
	}
	return s
}

// readAll reads at most limit bytes; more is an error.
func readAll(r io.Reader, limit int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return b, err
}
