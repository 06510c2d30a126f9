package backend

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// packedZones are for servers without zone files of their own, such as many
// containers. To be made anew with each new Go.
//
//go:generate go run ../scripts/zones zones.gz
//go:embed zones.gz
var packedZones []byte

// loadZone returns a time zone by its name, from the server's files if it has
// them.
func loadZone(name string) (*time.Location, error) {
	if zone, err := time.LoadLocation(name); err == nil {
		return zone, nil
	}
	return loadPackedZone(name)
}

func loadPackedZone(name string) (*time.Location, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(packedZones))
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(unpacked)
	if err != nil {
		return nil, err
	}
	head, files, _ := bytes.Cut(all, []byte("\n"))
	var index map[string][2]int // where each begins and ends
	if err := json.Unmarshal(head, &index); err != nil {
		return nil, err
	}
	at, found := index[name]
	if !found {
		return nil, fmt.Errorf("the time zone %q is not known", name)
	}
	return time.LoadLocationFromTZData(name, files[at[0]:at[1]])
}
