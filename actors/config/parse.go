package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a cluster file, in bytes.
const maxFile = 1 << 20

// Parse reads the text of a cluster file; name is what problems call it, and
// relative paths in it are relative to its directory. An error is an *Error.
// Secrets are not looked up.
func Parse(name string, text []byte) (*Config, error) {
	return parse(Origin{Source: File, Name: name}, text, false)
}

func parse(from Origin, text []byte, trusted bool) (*Config, error) {
	d := &decoder{layer: newConfig(), from: from, trusted: trusted}
	if root := d.document(text); root != nil && root.ShortTag() != "!!null" {
		d.mapping(root, d.layer.schema(), fileNames, "")
		d.secured()
	}
	return d.layer, problems(d.problems)
}

// document returns the root of the only document of a text, or nil.
func (d *decoder) document(text []byte) *yaml.Node {
	if len(text) > maxFile {
		d.bad(nil, "", "the file has %d bytes; at most %d are read", len(text), maxFile)
		return nil
	}
	d.text = text
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if err = dec.Decode(&more); err == nil {
			d.bad(&more, "", "a second document begins here; a cluster file has one")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		d.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax reports an error of the YAML parser.
func (d *decoder) syntax(err error) {
	text, at := err.Error(), &yaml.Node{}
	if m := yamlError.FindStringSubmatch(text); m != nil {
		text = m[2]
		at.Line, _ = strconv.Atoi(m[1])
		if at.Line == 0 || strings.HasPrefix(text, "did not find expected") {
			at.Line++ // these errors count lines from 0, and leave line 0 out
		}
	}
	d.bad(at, "", "this is no YAML: %s", text)
}

// secured derives the mode of a layer that only gives what one mode needs, and
// refuses one that gives what its mode does not use.
func (d *decoder) secured() {
	c := d.layer
	kinds := []struct{ mode, path string }{{"secret", "security.secrets"}, {"mtls", "security.cert_file"}, {"mtls", "security.key_file"}, {"mtls", "security.ca_file"}}
	_, explicit := c.origins["security.mode"]
	for _, k := range kinds {
		o, set := c.origins[k.path]
		switch {
		case !set:
		case c.Security.Mode == "":
			c.Security.Mode, c.origins["security.mode"] = k.mode, o
		case c.Security.Mode != k.mode && explicit:
			d.problems = append(d.problems, Problem{o, k.path, "mode " + c.Security.Mode + " does not use this; set security.mode: " + k.mode + " or leave it out"})
		case c.Security.Mode != k.mode:
			d.problems = append(d.problems, Problem{o, k.path, "this stands beside secrets; choose one and set security.mode"})
		}
	}
}
