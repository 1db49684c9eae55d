package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Beside is the temporary directory in which a new CA is made before it is renamed to dir. A crash may leave it behind.
// It is safe to remove: its key has signed nothing but its own certificate, which no host has received.
func Beside(dir string) string {
	return filepath.Join(filepath.Dir(dir), durable.TempName(filepath.Base(dir)))
}

// madeFiles are the files of a new CA.
var madeFiles = []string{confName, keyName, serialName, indexName, attrName, crlNumName, certName}

// emptied are the names that an interrupted makeBeside may have left in its temporary directory.
var emptied = append(madeFiles, NewCertsDir)

// The contents of serial and crlnumber, and of index.txt.attr, in a CA that has issued nothing.
const (
	firstNumber = "01\n"
	firstAttr   = "unique_subject = no\n"
)

// errBeside says that the temporary directory cannot be used. Init then makes the CA in its final directory.
var errBeside = errors.New("the CA cannot be made beside its place")

// makeBeside makes a CA where nothing is at o.Dir. It writes all files into a temporary directory in the same parent
// directory, and renames that when everything is durable, so that a crash never leaves half a CA at o.Dir. The order
// is: the files, the directory, the rename, the parent directory. Files that only say "nothing was issued yet" are not
// synced one by one: reconcile writes them again if a power failure lost their contents.
func makeBeside(ctx context.Context, disk *durable.Disk, o Options, rnd io.Reader,
	now time.Time) (cert *x509.Certificate, err error) {
	if err := o.fits(); err != nil { // before anything is made
		return nil, err
	}
	dir := Beside(o.Dir)
	if n := durable.Look(dir); n.Kind != durable.Missing && n.Kind != durable.Directory {
		return nil, errBeside
	}
	if err := disk.MakeDirs(dir, dirMode); err != nil {
		return nil, fmt.Errorf("%w: %w", errBeside, err)
	}
	l, err := lock(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) { // another program has made the CA
		return nil, errBeside
	} else if err != nil {
		return nil, err
	}
	defer l.Unlock()
	if err := emptyBeside(disk, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = disk.RemoveDir(dir, emptied...)
		}
	}()
	key, data, err := makeKey(ctx, o, o.Passphrase != nil, rnd)
	if err != nil {
		return nil, err
	}
	if cert, err = selfSign(o, key, nil, rnd, now); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name string
		data []byte
		mode fs.FileMode
		sync bool
	}{
		{confName, conf(o, madeMark), publicMode, true},
		{keyName, data, keyMode, true},
		{serialName, []byte(firstNumber), publicMode, false},
		{indexName, nil, publicMode, false},
		{attrName, []byte(firstAttr), publicMode, false},
		{crlNumName, []byte(firstNumber), publicMode, false},
		{certName, pki.EncodeCertificate(cert.Raw), publicMode, true},
	} {
		write := disk.Create
		if !f.sync {
			write = disk.CreateUnsynced
		}
		if err := write(filepath.Join(dir, f.name), f.data, f.mode); err != nil {
			return nil, err
		}
	}
	if err := disk.MakeDirs(filepath.Join(dir, NewCertsDir), dirMode); err != nil {
		return nil, err
	}
	if err := disk.SyncNewDir(dir); err != nil {
		return nil, err
	}
	if n := durable.Look(o.Dir); n.Err != nil || n.Kind != durable.Missing { // rename would replace an empty directory
		return nil, errBeside
	}
	if err := disk.Rename(dir, o.Dir); err != nil {
		return nil, err
	}
	return cert, disk.SyncDir(filepath.Dir(o.Dir))
}

// emptyBeside removes what an interrupted makeBeside has left. It returns errBeside where the directory has any other
// file, or where a file cannot be removed.
func emptyBeside(disk *durable.Disk, dir string) error {
	names, err := durable.NamesNoFollow(dir, 0)
	for _, name := range names {
		if err == nil && !slices.Contains(emptied, name) {
			err = fmt.Errorf("%s: mailcertd did not make this file; move it away", filepath.Join(dir, name))
		}
	}
	for _, name := range names {
		if err == nil {
			err = disk.Remove(filepath.Join(dir, name))
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errBeside, err)
	}
	return nil
}

// RemoveBeside removes the temporary directory that an interrupted makeBeside has left. It does nothing where there is
// none.
func RemoveBeside(ctx context.Context, disk *durable.Disk, dir string) error {
	beside := Beside(dir)
	l, err := lock(ctx, beside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer l.Unlock()
	if err := disk.RemoveDir(beside, emptied...); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(dir))
}
