package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
)

// layout is an OCI image layout: one image for each platform, whose only layer
// holds the binary. That is all that OpenBao takes from it; an init container lets
// the binary copy itself (-install).
type layout struct {
	dir       string
	manifests []descriptor
}

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *ociPlatform      `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type ociPlatform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type imageConfig struct {
	ociPlatform
	Config struct {
		Entrypoint []string
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// add adds the image of one binary.
func (l *layout) add(binary string, t target) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	inImage := plugin + t.suffix()
	plain, packed, err := pack(inImage, content)
	if err != nil {
		return err
	}
	layer, err := l.blob(layerType, packed)
	if err != nil {
		return err
	}
	var config imageConfig
	config.ociPlatform = ociPlatform{Architecture: t.arch, OS: t.os}
	config.Config.Entrypoint = []string{"/" + inImage}
	config.RootFS.Type, config.RootFS.DiffIDs = "layers", []string{plain}
	configured, err := l.json(configType, config)
	if err != nil {
		return err
	}
	image, err := l.json(manifestType, manifest{2, manifestType, configured, []descriptor{layer}})
	if err != nil {
		return err
	}
	image.Platform = &config.ociPlatform
	l.manifests = append(l.manifests, image)
	return nil
}

// pack makes a layer of one program, and the digest that it has unpacked. The
// headers say neither when nor by whom.
func pack(name string, content []byte) (diffID string, packed []byte, err error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Format: tar.FormatUSTAR}); err != nil {
		return "", nil, err
	}
	if _, err := w.Write(content); err != nil {
		return "", nil, err
	}
	if err := w.Close(); err != nil {
		return "", nil, err
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(archive.Bytes()); err != nil {
		return "", nil, err
	}
	if err := z.Close(); err != nil {
		return "", nil, err
	}
	return digest(archive.Bytes()), out.Bytes(), nil
}

// finish writes the index of the images under the name of the version, and what
// makes the directory a layout.
func (l *layout) finish(version string) error {
	images, err := l.json(indexType, index{2, indexType, l.manifests})
	if err != nil {
		return err
	}
	images.Annotations = map[string]string{"org.opencontainers.image.ref.name": version}
	root, err := json.Marshal(index{2, indexType, []descriptor{images}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.dir, "index.json"), root, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

func (l *layout) json(mediaType string, v any) (descriptor, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	return l.blob(mediaType, text)
}

func (l *layout) blob(mediaType string, content []byte) (descriptor, error) {
	d := descriptor{MediaType: mediaType, Digest: digest(content), Size: len(content)}
	name := filepath.Join(l.dir, "blobs", "sha256", d.Digest[len("sha256:"):])
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return d, err
	}
	return d, os.WriteFile(name, content, 0o644)
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}
