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

// Beside is the folder in which a new CA is made before it is renamed to dir. After a crash it may be left; nothing was
// signed with what is in it, and nobody has seen it.
func Beside(dir string) string {
	return filepath.Join(filepath.Dir(dir), durable.TempName(filepath.Base(dir)))
}

// madeFiles are the files of a new CA.
var madeFiles = []string{confName, keyName, serialName, indexName, attrName, crlNumName, certName}

// emptied are the names that an interrupted make may have left in the folder beside.
var emptied = append(madeFiles, newCertsName)

// What the small files of a new CA say: no more than that nothing was issued yet.
const (
	firstNumber = "01\n"
	firstAttr   = "unique_subject = no\n"
)

// errBeside says that the folder beside cannot be used: the CA is made in its place.
var errBeside = errors.New("the CA cannot be made beside its place")

// makeBeside makes a CA where nothing is at o.Dir: as a whole in a folder beside it, which is renamed to it when all of
// it is durable. The order is: files, each synced, but for those that say nothing yet, which reconcile makes again
// where a loss of power took what is in them; the folder; the rename; the directory above.
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
	if err := disk.MakeDirs(filepath.Join(dir, newCertsName), dirMode); err != nil {
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

// emptyBeside removes what an interrupted make has left. errBeside: there is something else too, or it cannot be
// removed.
func emptyBeside(disk *durable.Disk, dir string) error {
	names, err := durable.NamesNoFollow(dir, 0)
	for _, name := range names {
		if err == nil && !slices.Contains(emptied, name) {
			err = fmt.Errorf("%s: nothing of mailcertd's", filepath.Join(dir, name))
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

// RemoveBeside removes what an interrupted make of the CA has left beside dir.
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
