package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/config"
)

// configRow is a line of demo config print --json.
type configRow struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

// runConfig checks and prints cluster files, with the environment over them as
// a node would read them; nothing is started.
func runConfig(args []string, out io.Writer) error {
	if len(args) == 0 {
		return badUsage("config: use check, print, docs or migrate")
	}
	var origin, asJSON, skip bool
	fs := flag.NewFlagSet("config", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&skip, "skip-secrets", false, "")
	if args[0] == "print" {
		fs.BoolVar(&origin, "origin", false, "")
		fs.BoolVar(&asJSON, "json", false, "")
	}
	file, err := parseOne(fs, args[1:])
	if err != nil {
		return err
	}
	switch args[0] {
	case "docs":
		if file != "" {
			return badUsage("unexpected argument %q", file)
		}
		fmt.Fprint(out, config.Docs())
		return nil
	case "check":
		if file == "" {
			return badUsage("config check: the file is missing")
		}
		if _, err := loadConfig(file, skip); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: nothing is wrong\n", file)
		return nil
	case "print":
		c, err := loadConfig(file, skip)
		if err != nil {
			return err
		}
		if asJSON {
			rows := make([]configRow, 0)
			for _, r := range c.Rows() {
				rows = append(rows, configRow{r.Path, r.Value, r.Origin.String()})
			}
			e := json.NewEncoder(out)
			e.SetIndent("", "  ")
			return e.Encode(rows)
		}
		fmt.Fprint(out, c.YAML(origin))
		return nil
	}
	return badUsage("unknown command config %q; use check, print, docs or migrate", args[0])
}

// parseOne parses flags before and behind at most one argument.
func parseOne(fs *flag.FlagSet, args []string) (string, error) {
	if err := fs.Parse(args); err != nil {
		return "", usageError{err}
	}
	arg := fs.Arg(0)
	if fs.NArg() > 1 {
		if err := fs.Parse(fs.Args()[1:]); err != nil {
			return "", usageError{err}
		}
		if fs.NArg() > 0 {
			return "", badUsage("unexpected argument %q", fs.Arg(0))
		}
	}
	return arg, nil
}

func loadConfig(file string, skipSecrets bool) (*config.Config, error) {
	c, err := config.Load(config.Sources{File: file, Environ: os.Environ(), SkipSecrets: skipSecrets})
	var known, found *config.Error
	errors.As(err, &known)
	errors.As(maquis.CheckConfiguration(c), &found)
	switch {
	case known != nil && found != nil:
		return nil, config.Combine(known, found)
	case found != nil:
		return nil, found
	}
	return c, err
}

// reload reads the configuration of a running node again.
func reload(ctx context.Context, d *maquis.Distribution, l *lines) {
	restart, err := d.Reload(ctx)
	switch {
	case err != nil:
		l.write(event{"failed", "", err.Error()})
	case len(restart) > 0:
		l.write(event{"reloaded", "", "a restart is needed for " + strings.Join(restart, ", ")})
	default:
		l.write(event{"reloaded", "", ""})
	}
}
