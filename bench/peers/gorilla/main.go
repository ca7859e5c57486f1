// The classical hub on gorilla/websocket: one goroutine owns the clients, one reads and one writes each.
package main

import (
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

type message struct {
	kind int
	data []byte
}

type client struct {
	conn *websocket.Conn
	send chan message
}

type hub struct {
	clients    map[*client]bool
	register   chan *client
	unregister chan *client
	broadcast  chan message
}

func (h *hub) run() {
	for {
		select {
		case c := <-h.register:
			h.clients[c] = true
		case c := <-h.unregister:
			if h.clients[c] {
				delete(h.clients, c)
				close(c.send)
			}
		case m := <-h.broadcast:
			for c := range h.clients {
				select {
				case c.send <- m:
				default:
					delete(h.clients, c)
					close(c.send)
				}
			}
		}
	}
}

func (c *client) read(h *hub) {
	defer func() {
		h.unregister <- c
		c.conn.Close()
	}()
	for {
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		h.broadcast <- message{kind, data}
	}
}

func (c *client) write() {
	defer c.conn.Close()
	for m := range c.send {
		if c.conn.WriteMessage(m.kind, m.data) != nil {
			return
		}
	}
}

func main() {
	h := &hub{
		clients:    map[*client]bool{},
		register:   make(chan *client),
		unregister: make(chan *client),
		broadcast:  make(chan message),
	}
	go h.run()
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &client{conn, make(chan message, 256)}
		h.register <- c
		go c.write()
		go c.read(h)
	})
	address := "127.0.0.1:" + os.Args[1]
	if len(os.Args) > 2 {
		panic(http.ListenAndServeTLS(address, os.Args[2], os.Args[3], nil))
	}
	panic(http.ListenAndServe(address, nil))
}
