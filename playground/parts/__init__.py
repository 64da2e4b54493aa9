"""What several architectures are made of: questions about a prompt, drawing tokens, pictures and ink, optimisers and their schedules.

An architecture takes what it shares with others from here; what is its own, above all its model, stays in its room.
"""
