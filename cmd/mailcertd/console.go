package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// console is where a run of the program talks with a person: standard input, standard output, standard error, and the
// terminal that questions are asked on.
type console struct {
	in       io.Reader
	out      *output
	err      io.Writer
	saidUser bool // sayNotRoot has printed its line: it does so once
}

// terminal says whether standard error is a terminal, where a person reads along.
func (c *console) terminal() bool {
	f, ok := c.err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
