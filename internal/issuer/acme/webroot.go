package acme

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/mholt/acmez/v3/acme"
	"golang.org/x/sys/unix"
)

// wellKnown is the path of http-01 below the root of the web server (RFC 8555 section 8.3).
const wellKnown = ".well-known/acme-challenge"

// webrootWay writes the answers into a directory that a web server of this host serves. The web server may own the
// directory, so nothing is written through a link that leaves it.
type webrootWay struct{ published }

func (d *webrootWay) kind() string { return acme.ChallengeTypeHTTP01 }

func (d *webrootWay) prepare(_ context.Context, p proof) error {
	dir := d.i.o.Listener.Webroot
	if err := d.note(trace{Kind: webroot, Name: p.challenge.Token, Dir: dir}); err != nil {
		return err
	}
	d.i.o.Progress("writing the answer for " + p.name + " into " + dir)
	return writeToken(dir, p.challenge.Token, p.challenge.KeyAuthorization)
}

func (d *webrootWay) ready(context.Context) (string, error) { return "", nil }

func writeToken(dir, token, answer string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("the webroot: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, sub := range []string{path.Dir(wellKnown), wellKnown} {
		err := root.Mkdir(sub, 0o755)
		if err == nil {
			err = root.Chmod(sub, 0o755) // as for the file below
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("the webroot %s: %w", dir, err)
		}
	}
	name := path.Join(wellKnown, token)
	if data, err := root.ReadFile(name); err == nil && string(data) == answer {
		return nil // the file was written before a crash, and the CA may be reading it
	}
	_ = root.Remove(name)
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("the webroot %s: %w", dir, err)
	}
	_, err = f.WriteString(answer)
	// The web server must be able to read the file, whatever the umask is.
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("the webroot %s: %w", dir, err)
	}
	return nil
}

// removeToken removes an answer. It is not an error if the file or the webroot does not exist.
func removeToken(dir, token string) error {
	if !isToken(token) {
		return nil // this program writes no such file
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.Remove(path.Join(wellKnown, token)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tryWebroot finds the directory that an answer would be written into, or the nearest one above it, and asks access(2).
func tryWebroot(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("the webroot: %w", err)
	}
	defer func() { _ = root.Close() }()
	at := "."
	for _, sub := range []string{path.Dir(wellKnown), wellKnown} {
		info, err := root.Stat(sub)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err == nil && !info.IsDir() {
			err = &os.PathError{Op: "open", Path: sub, Err: unix.ENOTDIR}
		}
		if err != nil {
			return fmt.Errorf("the webroot %s: %w", dir, err)
		}
		at = sub
	}
	if err := unix.Access(path.Join(dir, at), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("the webroot: access %s: %w", path.Join(dir, at), err)
	}
	return nil
}
