"""The ground that everything is tested on: real parts, and hosts that can be killed.

Belongs here: a real control plane, hosts in namespaces, BMCs and PDUs that speak the real protocols, the load, and the
safety monitor that looks from outside. Does not: anything the product needs at a customer's, nor any decision of it;
`sim` is a sibling and neither imports the other.
"""
