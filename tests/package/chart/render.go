// Renders a Helm chart with the template engine and the functions that Helm uses, as far as the chart of this
// repository needs them. It takes the path of the chart, and a JSON object on standard input:
//
//	{"release": "a", "namespace": "b", "kubeVersion": "v1.34.0", "values": {...}}
//
// and prints a JSON object: the path of each template and its text. A template's error goes to standard error.
//
// It is stricter than Helm in one way: a value that neither values.yaml nor the caller has is an error, not nothing.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build -o render tests/package/chart/render.go
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v2"
)

type order struct {
	Release, Namespace, KubeVersion string
	Values                          map[string]interface{}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: render CHART < ORDER")
	}
	dir := os.Args[1]
	var order order
	if err := json.NewDecoder(os.Stdin).Decode(&order); err != nil {
		return err
	}
	chart, err := readYAML(filepath.Join(dir, "Chart.yaml"))
	if err != nil {
		return err
	}
	values, err := readYAML(filepath.Join(dir, "values.yaml"))
	if err != nil {
		return err
	}
	top := map[string]interface{}{
		"Values": merge(values, order.Values),
		"Chart":  titled(chart),
		"Release": map[string]interface{}{
			"Name": order.Release, "Namespace": order.Namespace, "Service": "Helm", "IsInstall": true, "IsUpgrade": false, "Revision": 1,
		},
		"Capabilities": map[string]interface{}{"KubeVersion": map[string]interface{}{"Version": order.KubeVersion}},
	}
	texts, err := render(dir, top)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(texts)
}

// All templates share their definitions, and files whose names begin with `_` print nothing.
func render(dir string, top map[string]interface{}) (map[string]string, error) {
	all := template.New("chart").Option("missingkey=error")
	all.Funcs(functions(all))
	paths, err := filepath.Glob(filepath.Join(dir, "templates", "*"))
	if err != nil {
		return nil, err
	}
	var printed []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name := filepath.Base(path)
		if _, err := all.New(name).Parse(string(text)); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(name, "_") {
			printed = append(printed, name)
		}
	}
	texts := map[string]string{}
	for _, name := range printed {
		var text bytes.Buffer
		if err := all.ExecuteTemplate(&text, name, top); err != nil {
			return nil, err
		}
		texts[name] = text.String()
	}
	return texts, nil
}

// The functions of sprig without those that Helm leaves out, and Helm's own.
func functions(all *template.Template) template.FuncMap {
	of := sprig.TxtFuncMap()
	delete(of, "env")
	delete(of, "expandenv")
	execute := func(t *template.Template, name string, data interface{}) (string, error) {
		var text bytes.Buffer
		err := t.ExecuteTemplate(&text, name, data)
		return text.String(), err
	}
	of["include"] = func(name string, data interface{}) (string, error) { return execute(all, name, data) }
	of["tpl"] = func(text string, data interface{}) (string, error) {
		own, err := all.Clone()
		if err != nil {
			return "", err
		}
		if _, err := own.New("tpl").Parse(text); err != nil {
			return "", err
		}
		return execute(own, "tpl", data)
	}
	of["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, errors.New(message)
		}
		return value, nil
	}
	of["fail"] = func(message string) (string, error) { return "", errors.New(message) }
	of["toYaml"] = toYAML
	of["toJson"] = func(value interface{}) (string, error) {
		text, err := json.Marshal(value)
		return string(text), err
	}
	of["fromYaml"] = func(text string) (map[string]interface{}, error) { return parseYAML([]byte(text)) }
	return of
}

// By JSON, as Helm does it: keys are sorted, and whole numbers have no point.
func toYAML(value interface{}) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	var plain interface{}
	if err := yaml.Unmarshal(text, &plain); err != nil {
		return "", err
	}
	out, err := yaml.Marshal(plain)
	return strings.TrimSuffix(string(out), "\n"), err
}

func readYAML(path string) (map[string]interface{}, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseYAML(text)
}

// By JSON, as Helm does it: every number is a float64, which templates must turn into an int where they print it.
func parseYAML(text []byte) (map[string]interface{}, error) {
	var plain interface{}
	if err := yaml.Unmarshal(text, &plain); err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(withTextKeys(plain))
	if err != nil {
		return nil, err
	}
	var object map[string]interface{}
	return object, json.Unmarshal(asJSON, &object)
}

func withTextKeys(value interface{}) interface{} {
	switch value := value.(type) {
	case map[interface{}]interface{}:
		object := map[string]interface{}{}
		for key, of := range value {
			object[fmt.Sprint(key)] = withTextKeys(of)
		}
		return object
	case []interface{}:
		for at, of := range value {
			value[at] = withTextKeys(of)
		}
	}
	return value
}

// Objects are merged, everything else is replaced, and null removes a key.
func merge(base, over map[string]interface{}) map[string]interface{} {
	for key, value := range over {
		below, isObject := base[key].(map[string]interface{})
		above, isObjectToo := value.(map[string]interface{})
		switch {
		case value == nil:
			delete(base, key)
		case isObject && isObjectToo:
			base[key] = merge(below, above)
		default:
			base[key] = value
		}
	}
	return base
}

// Chart.yaml as templates name its keys: appVersion is .Chart.AppVersion.
func titled(chart map[string]interface{}) map[string]interface{} {
	object := map[string]interface{}{}
	for key, value := range chart {
		object[strings.ToUpper(key[:1])+key[1:]] = value
	}
	return object
}
