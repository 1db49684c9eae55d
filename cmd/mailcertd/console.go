package main

import "io"

// console is where a run of the program talks with a person: what it is given, what it prints, and the terminal beside
// them.
type console struct {
	in       io.Reader
	out      *output
	err      io.Writer
	saidUser bool // sayNotRoot has spoken
}
