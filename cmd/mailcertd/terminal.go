package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/term"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// errNoTerminal says that nobody is there to be asked.
var errNoTerminal = errors.New("no terminal to ask on")

// tty is the person's terminal, whatever stdin and stdout are.
func (a *app) tty() (*os.File, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errNoTerminal
	}
	return f, nil
}

// agree shows a question and takes y or yes for consent; anything else, the
// end of input too, is a no.
func (a *app) agree(question string) (bool, error) {
	f, err := a.tty()
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

// passphrase asks without echo.
func (a *app) passphrase(prompt string) ([]byte, error) {
	f, err := a.tty()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd := int(f.Fd())
	before, err := term.MakeRaw(fd) // before the prompt: who types at once is not shown either
	if err != nil {
		return nil, err
	}
	defer func() { _ = term.Restore(fd, before) }()
	secret, err := term.NewTerminal(f, "").ReadPassword(prompt + ": ")
	if errors.Is(err, io.EOF) {
		return nil, errors.New("nothing was typed: nothing was changed")
	}
	return []byte(secret), err
}

// newPassphrase asks twice.
func (a *app) newPassphrase(what string) ([]byte, error) {
	for range tries {
		first, err := a.passphrase("New passphrase for " + what)
		if err != nil {
			return nil, err
		}
		if len(first) == 0 {
			fmt.Fprintln(a.err, "an empty passphrase protects nothing: try again")
			continue
		}
		second, err := a.passphrase("The same again")
		if err != nil {
			return nil, err
		}
		if bytes.Equal(first, second) {
			return first, nil
		}
		fmt.Fprintln(a.err, "they differ: try again")
	}
	return nil, fmt.Errorf("no passphrase after %d tries: nothing was changed", tries)
}

// tries is how often a passphrase is asked for.
const tries = 3

// askUntil asks for a passphrase until opens takes it.
func (a *app) askUntil(prompt string, opens func([]byte) error) ([]byte, error) {
	for range tries {
		secret, err := a.passphrase(prompt)
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
		fmt.Fprintln(a.err, "the passphrase is wrong")
	}
	return nil, fmt.Errorf("%w, after %d tries: nothing was changed", pki.ErrPassphrase, tries)
}

// unlock asks for the CA key's passphrase where it has one and the
// configuration has none.
func (a *app) unlock(k *keeper.Keeper, o plan.Observed) error {
	if o.CA.Status != ca.Complete || !o.CA.KeyInfo.Encrypted || o.Passphrase.Ready {
		return nil
	}
	secret, err := a.askUntil("Passphrase of "+o.CA.Key.Path, k.Unlocks)
	if errors.Is(err, errNoTerminal) {
		hint := "set ca.passphrase_file, or run this on a terminal"
		if o.Passphrase.Problem != "" {
			hint = o.Passphrase.Path + " " + o.Passphrase.Problem
		}
		return fmt.Errorf("%s: %w: %s", o.CA.Key.Path, ca.ErrLocked, hint)
	} else if err != nil {
		return err
	}
	k.SetPassphrase(secret)
	return nil
}

// office is the CA of this host, for the verbs that use it.
type office struct {
	cfg  config.Config
	k    *keeper.Keeper
	obs  plan.Observed
	opts ca.Options
}

// What a verb needs of the CA.
type need int

const (
	toLook need = iota // the CA alone
	toSee              // and everything else that is to be seen on this host
	toSign             // the CA and its key
	toRule             // all of that
)

// office opens it: complete, its key at hand when it is needed.
func (a *app) office(ctx context.Context, n need) (*office, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	k := a.keeper(cfg, a.quiet())
	var obs plan.Observed
	if n == toRule || n == toSee {
		obs = k.Check(ctx, plan.Wish{}).Observed
	} else {
		obs = k.ObserveAuthority()
	}
	o := obs.CA
	switch {
	case o.Err != nil:
		return nil, o.Err
	case o.Status == ca.Absent:
		return nil, fmt.Errorf("%s: there is no CA on this host: `mailcertd ca init` makes one", cfg.CA.Dir)
	case o.Status != ca.Complete:
		return nil, fmt.Errorf("%s: the CA is %s: `mailcertd check` says why", cfg.CA.Dir, o.Status)
	}
	if n == toSign || n == toRule {
		if err := a.unlock(k, obs); err != nil {
			return nil, err
		}
	}
	return &office{cfg: cfg, k: k, obs: obs, opts: k.Authority(obs)}, nil
}

// input is a file, or standard input for "-" and "". It is bounded.
func (a *app) input(path string, most int64) ([]byte, error) {
	from := a.in
	if path != "" && path != "-" {
		f, err := durable.Open(path) // never waits for a FIFO without a writer
		if err != nil {
			return nil, reasonOf(err)
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, reasonOf(err)
		}
		// A shell's pipe has a writer: /dev/stdin, or <(command), which is /dev/fd/N.
		piped := path == "/dev/stdin" || strings.HasPrefix(path, "/dev/fd/")
		if !st.Mode().IsRegular() && !(piped && st.Mode()&os.ModeNamedPipe != 0) {
			f.Close()
			return nil, fmt.Errorf("%s: is no regular file", path)
		}
		defer f.Close()
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("is larger than %d bytes", most)
	}
	return data, err
}

// reasonOf is the system's own reason: the caller names the file.
func reasonOf(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
