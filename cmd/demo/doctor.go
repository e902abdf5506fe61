package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/config"
)

// errNobody ends demo doctor with status 1: what is wrong is printed already.
var errNobody = errors.New("no candidate would let this node in")

// runDoctor tries what the discovery of a node finds; nothing is started.
func runDoctor(ctx context.Context, args []string, out, errw io.Writer) error {
	var asJSON bool
	var f nodeFlags
	fs := flag.NewFlagSet("doctor", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.add(fs)
	fs.BoolVar(&asJSON, "json", false, "")
	if err := fs.Parse(args); err != nil {
		return usageError{err}
	}
	if fs.NArg() > 0 {
		return badUsage("unexpected argument %q", fs.Arg(0))
	}
	opts, err := f.options()
	if err != nil {
		return err
	}
	report, err := maquis.Diagnose(ctx, func(text string) { fmt.Fprintln(errw, text) }, opts...)
	var wrong *config.Error
	switch {
	case errors.As(err, &wrong):
		return err
	case err != nil:
		return inputError{err}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return err
		}
	} else {
		fmt.Fprint(out, report)
	}
	if !report.OK {
		return errNobody
	}
	return nil
}
