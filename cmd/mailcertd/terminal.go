package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"mailcertd/internal/pki"
)

// errNoTerminal says that there is no terminal on which a person could be asked.
var errNoTerminal = errors.New("there is no terminal to ask for it")

// tty opens the person's terminal, even if standard input and output are not terminals.
func (c *console) tty() (*os.File, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errNoTerminal
	}
	return f, nil
}

// agree shows a question. y or yes means consent; anything else, also the end of input, means no.
func (c *console) agree(question string) (bool, error) {
	f, err := c.tty()
	if err != nil {
		return false, err
	}
	defer f.Close()
	fmt.Fprintf(f, "%s [y/n]: ", question)
	var line []byte
	for b := make([]byte, 1); len(line) < 100; {
		if n, err := f.Read(b); n == 0 || err != nil || b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	text := strings.ToLower(strings.TrimSpace(string(line)))
	return text == "y" || text == "yes", nil
}

// passphrase asks for a passphrase without showing what is typed.
func (c *console) passphrase(prompt string) ([]byte, error) {
	f, err := c.tty()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: run this on a terminal", strings.ToLower(prompt[:1])+prompt[1:], err)
	}
	defer f.Close()
	fd := int(f.Fd())
	before, err := term.MakeRaw(fd) // the echo is off before the prompt appears, so that nothing typed early is shown
	if err != nil {
		return nil, err
	}
	defer func() { _ = term.Restore(fd, before) }()
	secret, err := term.NewTerminal(f, "").ReadPassword(prompt + ": ")
	if errors.Is(err, io.EOF) {
		return nil, errors.New("no passphrase was typed, and nothing was changed")
	}
	return []byte(secret), err
}

// newPassphrase asks for a new passphrase twice.
func (c *console) newPassphrase(what string) ([]byte, error) {
	for range tries {
		first, err := c.passphrase("New passphrase for " + what)
		if err != nil {
			return nil, err
		}
		if len(first) == 0 {
			fmt.Fprintln(c.err, "the passphrase is empty: try again")
			continue
		}
		second, err := c.passphrase("Repeat the passphrase")
		if err != nil {
			return nil, err
		}
		if bytes.Equal(first, second) {
			return first, nil
		}
		fmt.Fprintln(c.err, "the two passphrases differ: try again")
	}
	return nil, fmt.Errorf("no passphrase after %d tries, and nothing was changed", tries)
}

// tries is how often a passphrase is asked for.
const tries = 3

// askUntil asks for a passphrase until opens accepts it, at most as often as tries says.
func (c *console) askUntil(prompt string, opens func([]byte) error) ([]byte, error) {
	for range tries {
		secret, err := c.passphrase(prompt)
		if err != nil {
			return nil, err
		}
		err = opens(secret)
		if err == nil {
			return secret, nil
		}
		if !errors.Is(err, pki.ErrPassphrase) {
			return nil, err
		}
		fmt.Fprintln(c.err, "the passphrase is wrong")
	}
	return nil, fmt.Errorf("%w, after %d tries, and nothing was changed", pki.ErrPassphrase, tries)
}

// consent asks a person unless yes was given as an option. Without a terminal nothing is signed.
func (c *console) consent(yes bool, question string) error {
	if yes {
		return nil
	}
	ok, err := c.agree(question)
	switch {
	case errors.Is(err, errNoTerminal):
		return usageError{errors.New("there is no terminal to ask for confirmation: use --yes")}
	case err == nil && !ok:
		return errors.New("nothing was signed")
	}
	return err
}
