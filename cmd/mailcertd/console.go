package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// console is how a run of the program talks with a person: standard input, standard output, standard error, and the
// terminal on which questions are asked.
type console struct {
	in       io.Reader
	out      *output
	err      io.Writer
	saidUser bool // sayNotRoot has printed its line, which it does once
}

// terminal says whether standard error is a terminal, so that a person reads what is printed.
func (c *console) terminal() bool {
	f, ok := c.err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
