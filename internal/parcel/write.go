package parcel

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Unfinished is the path of a parcel until it is complete, beside its file because a rename needs one file system.
// After a kill it holds a key that may have a certificate already; the same command continues with it.
func Unfinished(file string) string {
	return filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".unfinished")
}

// Begin writes the key of a parcel durably to Unfinished(file), before its certificate is signed: a certificate whose
// key is lost would block its name.
func Begin(disk *durable.Disk, file string, key []byte) error {
	if err := disk.Create(Unfinished(file), key, 0o600); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(file))
}

// Finish appends the certificates to the key that Begin wrote, the leaf first, and renames the file to its final name.
func Finish(disk *durable.Disk, file string, key []byte, certs []*x509.Certificate) error {
	var text []byte
	for _, c := range certs {
		text = append(text, pki.EncodeCertificate(c.Raw)...)
	}
	// The certificates go into the same file: after a kill, a copy would be a second file with the key.
	if err := disk.Extend(Unfinished(file), int64(len(key)), text); err != nil {
		return err
	}
	if err := disk.Rename(Unfinished(file), file); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(file))
}

// TakeUp reads the key that an interrupted issue left for that file, and its text; nil where there is none. The file
// must be one that only its owner could have made, read or linked, because others may be able to write to the
// directory.
func TakeUp(file string, secret func() ([]byte, error)) (crypto.Signer, []byte, error) {
	path := Unfinished(file)
	f, err := durable.OpenNoFollow(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	bad := func(why string) (crypto.Signer, []byte, error) {
		return nil, nil,
			fmt.Errorf("%s: %s: an interrupted `mailcertd issue` does not leave such a file; move it away", path, why)
	}
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) { // for a symbolic link FreeBSD returns EMLINK
		return bad("is a symbolic link")
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.Mode().IsRegular():
		return bad("is not a regular file")
	case !ok || int(sys.Uid) != os.Geteuid():
		return bad("belongs to another user")
	case st.Mode().Perm()&0o077 != 0:
		return bad(fmt.Sprintf("other users can read it (mode %04o)", st.Mode().Perm()))
	case uint64(sys.Nlink) != 1: // the type of Nlink differs between systems
		return bad("has a second name (hard link)")
	}
	data, err := durable.ReadAll(f, 1<<20)
	if err != nil {
		return nil, nil, err
	}
	_, rest := pem.Decode(data)
	text := data[:len(data)-len(rest)] // the rest may be half a certificate
	info := pki.ReadKeyFile(data)
	switch {
	case info.Encrypted:
		word, err := secret()
		if err != nil {
			return nil, nil, err
		}
		if word == nil {
			return nil, nil, fmt.Errorf("%s: an interrupted issue left a key with a passphrase: use --encrypt", path)
		}
		key, err := pki.Decrypt(data, word)
		if err != nil {
			return nil, nil,
				fmt.Errorf(
					"%s: the key that an interrupted issue left cannot be used: %w: delete the file, revoke its "+
						"certificate if `mailcertd list` shows one, and start again", path, err)
		}
		return key, text, nil
	// The kill came before the key was complete, and so before a signature.
	case !bytes.Contains(data, []byte("-----END ")):
		return nil, nil, os.Remove(path)
	}
	key, err := pki.ParseKey(data)
	if err != nil {
		return bad(err.Error())
	}
	return key, text, nil
}
