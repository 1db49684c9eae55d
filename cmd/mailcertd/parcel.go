package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
)

// parcel is one host's file of `issue`: key, certificate and the CA's.
type parcel struct {
	ask  ca.Ask
	file string
}

// unfinished is where a parcel lies until it is whole: beside its file, because
// both must be on one file system. What a kill leaves there holds a key that may
// have a certificate already: the same command takes it up.
func (p parcel) unfinished() string {
	return filepath.Join(filepath.Dir(p.file), "."+filepath.Base(p.file)+".unfinished")
}

// parcels checks all that can be checked before anything is signed.
func (a *app) parcels(o *office, names, alt []string, out string, days int, replace bool) ([]parcel, error) {
	dir := out
	if len(names) == 1 {
		dir = filepath.Dir(out)
	}
	if st, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("%s: %w: make the directory first", dir, reasonOf(err))
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s: is no directory, where the files for %s are to go", dir, strings.Join(names, ", "))
	}
	sample, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // in place of keys that are not made yet
	if err != nil {
		return nil, err
	}
	var all []parcel
	seen := map[string]bool{}
	for _, name := range names {
		p := parcel{file: out, ask: ca.Ask{ByHand: true, Days: days, Name: strings.ToLower(name), Replace: replace}}
		if seen[p.ask.Name] {
			return nil, usageError{fmt.Errorf("%s is named twice", p.ask.Name)}
		}
		seen[p.ask.Name] = true
		for _, n := range alt {
			if ip := net.ParseIP(n); ip != nil {
				p.ask.IPs = append(p.ask.IPs, ip)
			} else {
				p.ask.DNSNames = append(p.ask.DNSNames, strings.ToLower(n))
			}
		}
		if len(names) > 1 {
			p.file = filepath.Join(out, p.ask.Name+".pem")
		}
		if _, err := os.Lstat(p.file); err == nil {
			return nil, fmt.Errorf("%s: is there already, and may hold a key: name another file", p.file)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if _, err := os.Lstat(p.unfinished()); err != nil { // else its key says what becomes of it
			ask := p.ask
			ask.Public = sample.Public()
			if _, err := ca.Preview(o.obs.CA, o.opts, ask, time.Now()); err != nil {
				return nil, fmt.Errorf("%s: %w", p.ask.Name, err)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// issue makes one parcel.
func (a *app) issue(ctx context.Context, o *office, p parcel, kt pki.KeyType, secret func() ([]byte, error), yes bool) error {
	key, err := takeUp(p.unfinished(), secret)
	if err != nil {
		return err
	}
	fresh := key == nil
	if fresh {
		done := a.progress("making a "+string(kt)+" key for "+p.ask.Name, 0)
		key, err = pki.GenerateKeyContext(ctx, kt, rand.Reader)
		done()
		if err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.err, "%s: an interrupted issue left it; it is finished\n", p.unfinished())
	}
	p.ask.Public = key.Public()
	d, err := ca.Preview(o.obs.CA, o.opts, p.ask, time.Now())
	if err != nil {
		return err
	}
	a.showAsk(p.ask, d, o.obs.CA)
	if err := a.consent(yes, "Sign the certificate?"); err != nil {
		return err
	}
	word, err := secret()
	if err != nil {
		return err
	}
	text, err := keyText(key, word)
	if err != nil {
		return err
	}
	if fresh { // before it is signed: a certificate whose key is lost blocks its name
		if err := a.disk.Create(p.unfinished(), text, 0o600); err != nil {
			return err
		}
		if err := a.disk.SyncDir(filepath.Dir(p.file)); err != nil {
			return err
		}
	}
	cert, bundle, err := a.sign(ctx, o, p.ask)
	switch {
	case errors.Is(err, ca.ErrMade):
		return fmt.Errorf("%w; its key is kept in %s: the same command, said again, completes it", err, p.unfinished())
	case err != nil && fresh: // nothing was signed
		return errors.Join(err, os.Remove(p.unfinished()))
	case err != nil:
		return err
	}
	text = append(text, pki.EncodeCertificate(cert.Raw)...)
	for _, c := range bundle {
		text = append(text, pki.EncodeCertificate(c.Raw)...)
	}
	if err := a.disk.Replace(p.unfinished(), text, 0o600); err != nil {
		return err
	}
	if err := a.disk.Rename(p.unfinished(), p.file); err != nil {
		return err
	}
	if err := a.disk.SyncDir(filepath.Dir(p.file)); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s: key and certificate %s for %s, until %s\n", p.file, ca.FormatSerial(cert.SerialNumber), p.ask.Name, cert.NotAfter.Local().Format("2006-01-02"))
	return nil
}

// takeUp reads the key that an interrupted issue left; nil: there is none. In a
// directory that others may write to, the file must be one that only its owner
// could have made, read or linked.
func takeUp(path string, secret func() ([]byte, error)) (crypto.Signer, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	bad := func(why string) (crypto.Signer, error) {
		return nil, fmt.Errorf("%s: %s: it is not what an interrupted `mailcertd issue` leaves; move it away", path, why)
	}
	if err != nil {
		return bad(reasonOf(err).Error())
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.Mode().IsRegular():
		return bad("is no regular file")
	case !ok || int(sys.Uid) != os.Geteuid():
		return bad("belongs to another user")
	case st.Mode().Perm()&0o077 != 0:
		return bad(fmt.Sprintf("others may look into it (mode %04o)", st.Mode().Perm()))
	case uint64(sys.Nlink) != 1: // as wide as the system has it
		return bad("has another name too")
	}
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, err
	}
	info := pki.ReadKeyFile(data)
	switch {
	case info.Encrypted:
		word, err := secret()
		if err != nil {
			return nil, err
		}
		if word == nil {
			return nil, fmt.Errorf("%s: an interrupted issue left a key with a passphrase: say --encrypt", path)
		}
		key, err := pki.Decrypt(data, word)
		if err != nil {
			return nil, fmt.Errorf("%s: the key that an interrupted issue left: %w: delete the file to begin anew, and revoke what `mailcertd list` has for it", path, err)
		}
		return key, nil
	case !bytes.Contains(data, []byte("-----END ")): // killed before the key was whole, and so before anything was signed
		return nil, os.Remove(path)
	}
	key, err := pki.ParseKey(data)
	if err != nil {
		return bad(err.Error())
	}
	return key, nil
}
