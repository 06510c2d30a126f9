// Zones packs the time zones of this Go toolchain for the plugin: the tenth of
// what importing time/tzdata would add to its binary.
//
//	zones OUTPUT
//
// The output is gzip of a line of JSON, where each zone begins and ends in what
// follows it, and of the zones' files, each once.
package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: zones OUTPUT")
		os.Exit(2)
	}
	if err := pack(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "zones:", err)
		os.Exit(1)
	}
}

func pack(output string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	zones, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return err
	}
	defer zones.Close()

	index, known := map[string][2]int{}, map[string][2]int{}
	var files bytes.Buffer
	for _, zone := range zones.File {
		if zone.FileInfo().IsDir() {
			continue
		}
		data, err := read(zone)
		if err != nil {
			return fmt.Errorf("%s: %w", zone.Name, err)
		}
		at, found := known[string(data)]
		if !found {
			at = [2]int{files.Len(), files.Len() + len(data)}
			known[string(data)] = at
			files.Write(data)
		}
		index[zone.Name] = at
	}
	head, err := json.Marshal(index) // sorted, so that the same zones give the same file
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	for _, part := range [][]byte{head, []byte("\n"), files.Bytes()} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(output, packed.Bytes(), 0o644)
}

func read(zone *zip.File) ([]byte, error) {
	r, err := zone.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
