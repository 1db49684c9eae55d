// Command tarball writes a directory as a .tar.gz that depends only on names, contents and executable bits. It gives
// the same file whatever tar, gzip, umask, user, file system or operating system is used.
//
//	tarball -prefix mailcertd-0.1.0 -time 2026-01-31T12:00:00Z DIR FILE
package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

func main() {
	prefix := flag.String("prefix", "", "the directory in the archive that contains all files")
	when := flag.String("time", "", "modification time of every file, RFC 3339")
	flag.Parse()
	mtime, err := time.Parse(time.RFC3339, *when)
	if err == nil && (flag.NArg() != 2 || *prefix == "") {
		err = errors.New("usage: tarball -prefix NAME -time TIME DIR FILE")
	}
	if err == nil {
		err = write(flag.Arg(0), flag.Arg(1), *prefix, mtime)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tarball:", err)
		os.Exit(1)
	}
}

// write makes file from the files in dir. It never leaves an incomplete file behind.
func write(dir, file, prefix string, mtime time.Time) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(file)
		}
	}()
	zip := gzip.NewWriter(out) // its header has no name and no time
	w := tar.NewWriter(zip)
	if err := pack(w, dir, prefix, mtime); err != nil {
		return err
	}
	return errors.Join(w.Close(), zip.Close(), out.Close())
}

// pack adds the regular files in the order of WalkDir, which is that of their names. It leaves out directories, because
// tar makes them when it needs them.
func pack(w *tar.Writer, dir, prefix string, mtime time.Time) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: is not a regular file (%s), as all of a release must be", name, info.Mode().Type())
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		head := &tar.Header{
			Typeflag: tar.TypeReg, Format: tar.FormatUSTAR, Name: path.Join(prefix, filepath.ToSlash(rel)),
			Size: info.Size(), Mode: 0o644, ModTime: mtime, Uname: "root", Gname: "wheel",
		}
		if info.Mode()&0o100 != 0 {
			head.Mode = 0o755
		}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(w, in)
		return err
	})
}
